"""One text: a file of any name, or standard input, also compressed."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from nanogpt_cli.data.sources.base import SourceOptions
from nanogpt_cli.data.sources.byte_stream import COMPRESSED_SUFFIXES, Meter, open_file, open_pipe
from nanogpt_cli.data.sources.decoding import decoded
from nanogpt_cli.data.sources.names import readable, safe_name
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Notice, NullReporter, Reporter

STDIN = "-"


class TextFile:
    """One text file: one document."""

    kind = "file"
    collection = False
    repeatable = True

    def __init__(
        self, path: Path, options: SourceOptions | None = None, reporter: Reporter | None = None
    ) -> None:
        self.path = path
        self.label = readable(str(path))
        self.dataset_name = name_after(path)
        self.size_bytes: int | None = path.stat().st_size
        self._options = options or SourceOptions()
        self._reporter = reporter or NullReporter()
        self._meter = Meter()

    @property
    def done_bytes(self) -> int:
        """Bytes of the file read so far."""
        return self._meter.done

    def documents(self) -> Iterator[Iterator[str]]:
        """The file's text; raises NanoGPTError where it is not text in its encoding."""
        self._meter.done = 0
        yield self._pieces()

    def _pieces(self) -> Iterator[str]:
        with open_file(self.path, self._meter) as stream:
            yield from decoded(stream, self._options, self._reporter)


class StandardInput:
    """What is piped into the command: one document, which can be read only once."""

    label = STDIN
    dataset_name = "stdin"
    kind = "stdin"
    collection = False
    repeatable = False
    size_bytes: int | None = None

    def __init__(self, options: SourceOptions, reporter: Reporter) -> None:
        self._options = options
        self._reporter = reporter
        self._meter = Meter()
        self._read = False

    @property
    def done_bytes(self) -> int:
        """Bytes read so far."""
        return self._meter.done

    def documents(self) -> Iterator[Iterator[str]]:
        """The text; an empty one is an error."""
        assert not self._read, "standard input was read already"
        self._read = True
        yield self._pieces()

    def _pieces(self) -> Iterator[str]:
        if sys.stdin is None:  # a program without a console, on Windows
            raise NanoGPTError("there is no standard input", "give a file: nanogpt prepare input.txt")
        if sys.stdin.isatty():
            self._reporter.emit(Notice(message="reading what you type, to the end of file (Ctrl-D)"))
        with open_pipe(sys.stdin.buffer, self._meter) as stream:
            if not stream.head:
                raise NanoGPTError("standard input is empty", "pipe a text in: cat *.txt | nanogpt prepare -")
            yield from decoded(stream, self._options, self._reporter)


def name_after(path: Path) -> str:
    """A dataset's name: the file's without its endings, or the folder's."""
    name = path.name or path.resolve().name
    if name in (".", ".."):
        name = path.resolve().name
    elif not path.is_dir():
        for suffix in COMPRESSED_SUFFIXES:
            name = name.removesuffix(suffix)
        name = Path(name).stem
    return safe_name(name)


def empty_file(path: Path) -> NanoGPTError:
    """The error for a file without a byte."""
    return NanoGPTError(
        f"{path} is empty", "put some text into it, or try: nanogpt prepare python-docs --tokenizer char"
    )


def special_file(path: Path) -> NanoGPTError:
    """The error for a pipe, a socket or a device."""
    way = f"cat {shlex.quote(str(path))} | nanogpt prepare -"
    if path.is_relative_to("/dev"):  # the command's own input, or what a shell makes of <(command)
        way = "nanogpt prepare - < input.txt, or: command | nanogpt prepare -"
    return NanoGPTError(
        f"{path} is not a regular file, and it may have to be read twice",
        f"send it through standard input: {way}",
    )

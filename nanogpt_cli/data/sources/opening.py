"""A table's file, opened anew for each pass: its bytes, its text in pieces, or its lines."""

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from nanogpt_cli.data.sources.base import SourceOptions
from nanogpt_cli.data.sources.byte_stream import ByteStream, Meter, open_file
from nanogpt_cli.data.sources.decoding import decoded
from nanogpt_cli.data.sources.names import readable
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Reporter

_LONGEST_LINE: Final = 1 << 29  # characters; what is longer is no record, and would fill the memory


class Opening:
    """How to open one file with the user's options."""

    def __init__(self, path: Path, options: SourceOptions, reporter: Reporter, meter: Meter) -> None:
        self.path = path
        self.label = readable(str(path))
        self.options = options
        self.reporter = reporter
        self.meter = meter
        self.compressed = False  # known once it was opened

    def bytes(self) -> AbstractContextManager[ByteStream]:
        """The unpacked content."""
        return open_file(self.path, self.meter)

    def text(self) -> Iterator[str]:
        """The text, in pieces that are not empty."""
        with self.bytes() as stream:
            self.compressed = stream.compression is not None
            yield from decoded(stream, self.options, self.reporter)

    def lines(self) -> Iterator[str]:
        r"""The text's lines with their ends, which are \n alone: other separators stand inside of records."""
        return self._split("\n")

    def lines_of_any_end(self) -> Iterator[str]:
        r"""The text's lines with their ends, \n, \r\n or \r."""
        return self._split("")

    def _split(self, newline: str) -> Iterator[str]:
        pending: list[str] = []
        for piece in self.text():
            pending.append(piece)
            if "\n" in piece or (newline == "" and "\r" in piece):
                # StringIO splits as files do, in C, and translates nothing.
                lines = list(io.StringIO("".join(pending), newline=newline))
                # The last line may go on, and a \r at the very end may be half of \r\n.
                pending = [lines.pop()] if newline == "" or not lines[-1].endswith("\n") else []
                yield from lines
            elif sum(map(len, pending)) > _LONGEST_LINE:
                raise NanoGPTError(
                    f"{self.label} has a line of more than {_LONGEST_LINE:,} characters: no table of texts",
                    "if it is a plain text, give it the ending .txt",
                )
        if pending:
            yield from io.StringIO("".join(pending), newline=newline)

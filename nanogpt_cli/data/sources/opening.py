"""A table's file, opened anew for each pass: its bytes, its text in pieces, or its lines."""

import io
import itertools
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

    def blocks(self) -> Iterator[str]:
        r"""The text in stretches of whole lines, which end in \n alone: other separators are in records."""
        pending: list[str] = []
        for piece in self.text():
            cut = piece.rfind("\n") + 1
            if cut:
                block = "".join([*pending, piece[:cut]])
                pending = [piece[cut:]]
                yield block
            else:
                pending.append(piece)
                self._refuse_endless(pending)
        if any(pending):
            yield "".join(pending)

    def lines(self) -> Iterator[str]:
        r"""The text's lines with their ends, \n, \r\n or \r."""
        return itertools.chain.from_iterable(self._lines_by_piece())

    def _lines_by_piece(self) -> Iterator[list[str]]:
        pending: list[str] = []
        carried = ""  # a \r at a piece's end may be half of \r\n
        for piece in itertools.chain(self.text(), [""]):
            text = carried + piece
            carried = "\r" if piece and text.endswith("\r") else ""
            # StringIO splits as files do, in C, and translates nothing.
            lines = list(io.StringIO(text.removesuffix(carried), newline=""))
            if not lines:
                continue
            lines[0] = "".join([*pending, lines[0]])
            pending = [] if lines[-1].endswith(("\n", "\r")) else [lines.pop()]
            yield lines
            self._refuse_endless(pending)
        yield pending

    def _refuse_endless(self, pending: list[str]) -> None:
        if sum(map(len, pending)) > _LONGEST_LINE:
            raise NanoGPTError(
                f"{self.label} has a line of more than {_LONGEST_LINE:,} characters: no table of texts",
                "if it is a plain text, give it the ending .txt",
            )

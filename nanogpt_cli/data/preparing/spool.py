"""A source that can be read only once, such as standard input, kept in a file to be read again.

The file is a row of records: a header of four bytes, little-endian, then that many bytes of UTF-8. The
header's top bit says that a document ends with the record.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from nanogpt_cli.data.preparing.survey import utf8_of
from nanogpt_cli.data.sources.base import Source
from nanogpt_cli.events import Progress, Reporter

_HEADER: Final = struct.Struct("<I")
_ENDS: Final = 1 << 31
_BUFFER_BYTES: Final = 1 << 20


class SpooledSource:
    """What `spooled` has kept: the same documents, in the same pieces, as often as needed."""

    repeatable = True

    def __init__(self, path: Path, *, label: str, dataset_name: str, kind: str, collection: bool) -> None:
        self._path = path
        self.label = label
        self.dataset_name = dataset_name
        self.kind = kind
        self.collection = collection
        self.size_bytes: int | None = path.stat().st_size
        self.done_bytes = 0

    def documents(self) -> Iterator[Iterator[str]]:
        """Every document; each must be read to its end before the next."""
        self.done_bytes = 0
        with self._path.open("rb", buffering=_BUFFER_BYTES) as file:
            while self.done_bytes < (self.size_bytes or 0):
                yield self._pieces(file)

    def _pieces(self, file: IO[bytes]) -> Iterator[str]:
        ends = False
        while not ends:
            (header,) = _HEADER.unpack(file.read(_HEADER.size))
            size, ends = header & ~_ENDS, bool(header & _ENDS)
            self.done_bytes += _HEADER.size + size
            yield file.read(size).decode("utf-8")


def spooled(source: Source, path: Path, reporter: Reporter, *, again: bool = False) -> SpooledSource:
    """Read `source` once, to its end, into `path`; `again`: it is there already, from an earlier attempt."""
    if not again:
        _copy(source, path, reporter)
    return SpooledSource(
        path,
        label=source.label,
        dataset_name=source.dataset_name,
        kind=source.kind,
        collection=source.collection,
    )


def _copy(source: Source, path: Path, reporter: Reporter) -> None:
    with path.open("wb", buffering=_BUFFER_BYTES) as file:
        for document in source.documents():
            for text in document:
                raw = utf8_of(text, source.label)
                file.write(_HEADER.pack(len(raw)) + raw)
                done = file.tell() if source.size_bytes is None else source.done_bytes
                reporter.emit(Progress(task="receiving", done=done, total=source.size_bytes, unit="bytes"))
            file.write(_HEADER.pack(_ENDS))
        file.flush()
        os.fsync(file.fileno())

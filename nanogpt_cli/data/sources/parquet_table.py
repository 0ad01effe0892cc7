"""Tables in Apache Parquet, read by Arrow in small batches: memory holds a page of one column, not a file.

Parquet is read from its end, so a compressed file (.parquet.gz) is unpacked into a temporary file first.
"""

import contextlib
import itertools
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

from nanogpt_cli.data.sources import base
from nanogpt_cli.data.sources.columns import LISTS, OBJECTS, TEXT
from nanogpt_cli.data.sources.opening import Opening
from nanogpt_cli.errors import NanoGPTError, os_reason
from nanogpt_cli.events import Warned

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet as pq

_BATCH_BYTES: Final = 8 << 20
_MOST_ROWS: Final = 8192
_READ_BYTES: Final = 1 << 20


class ParquetTable:
    """A .parquet file."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._size = opening.path.stat().st_size
        if opening.options.encoding is not None:
            message = f"{opening.label}: text in Parquet is UTF-8, whatever --encoding says"
            opening.reporter.emit(Warned(message=message))

    def columns(self) -> dict[str, str]:
        """The columns of the schema."""
        with self._open() as file:
            return {field.name: _kind(field.type) for field in file.schema_arrow}

    def values(self, column: str) -> Iterator[str | None]:
        """The column's values."""
        return itertools.chain.from_iterable(self._batches(column))

    def _batches(self, column: str) -> Iterator[list[str | None]]:
        import pyarrow as pa

        with self._open() as file:
            rows = 0
            total = max(1, file.metadata.num_rows)
            try:
                # One thread: a single column gains nothing by more, and they keep more in memory.
                batches = file.iter_batches(
                    batch_size=_rows_a_batch(file.metadata, column), columns=[column], use_threads=False
                )
                for batch in batches:
                    yield self._strings(batch.column(0), rows)
                    rows += batch.num_rows
                    self._opening.meter.done = self._size * rows // total
            except (pa.ArrowException, OSError) as error:
                raise self._damaged(error) from None

    def _strings(self, column: Any, rows_before: int) -> list[str | None]:
        """A batch's values; that they are UTF-8 is not checked by Parquet, but here."""
        import pyarrow as pa

        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        try:
            return cast("list[str | None]", column.cast(pa.large_string()).to_pylist())
        except (pa.ArrowInvalid, UnicodeDecodeError):
            values = column.cast(pa.large_binary()).to_pylist()
            return [
                None if raw is None else self._decode(raw, row) for row, raw in enumerate(values, rows_before)
            ]

    def _decode(self, raw: bytes, row: int) -> str:
        try:
            return raw.decode("utf-8", self._opening.options.errors)
        except UnicodeDecodeError as error:
            raise NanoGPTError(
                f"{self._opening.label}, row {row + 1:,} is not UTF-8, as all text in Parquet is: byte "
                f"{error.start:,} of its text (0x{raw[error.start]:02X}) cannot be decoded",
                f"nanogpt prepare {shlex.quote(self._opening.label)} --errors replace",
            ) from None

    @contextlib.contextmanager
    def _open(self) -> Iterator["pq.ParquetFile"]:
        import pyarrow as pa
        from pyarrow import parquet as pq

        with self._seekable() as source:
            try:
                file = pq.ParquetFile(source, buffer_size=_READ_BYTES, pre_buffer=False)
            except (pa.ArrowException, OSError) as error:
                raise self._damaged(error) from None
            with file:
                yield file

    @contextlib.contextmanager
    def _seekable(self) -> Iterator["Path | IO[bytes]"]:
        with self._opening.bytes() as stream:
            if stream.compression is None:
                yield self._opening.path
                return
            with tempfile.TemporaryFile(prefix="nanogpt-") as unpacked:
                try:
                    while piece := stream.read(base.PIECE_BYTES):
                        unpacked.write(piece)
                except OSError as error:
                    raise NanoGPTError(
                        f"{self._opening.label} cannot be unpacked into {tempfile.gettempdir()}: "
                        f"{os_reason(error)}",
                        "TMPDIR=/a/larger/disk nanogpt prepare ..., or unpack it first",
                    ) from None
                unpacked.seek(0)
                yield unpacked

    def _damaged(self, error: Exception) -> NanoGPTError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return NanoGPTError(
            f"{self._opening.label} is damaged or no Parquet ({reason})", "download or write it again"
        )


def _rows_a_batch(metadata: "pq.FileMetaData", column: str) -> int:
    """How many rows make about `_BATCH_BYTES`, by the row group whose rows are longest."""
    longest = 1
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        chunks = (group.column(place) for place in range(group.num_columns))
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == column)
        longest = max(longest, size // max(1, group.num_rows))
    return max(1, min(_MOST_ROWS, _BATCH_BYTES // longest))


def _kind(type_: "pa.DataType") -> str:
    import pyarrow as pa

    if pa.types.is_dictionary(type_):
        return _kind(type_.value_type)
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    binaries = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    if any(test(type_) for test in texts + binaries):
        return TEXT
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return LISTS
    return OBJECTS if pa.types.is_struct(type_) else str(type_)

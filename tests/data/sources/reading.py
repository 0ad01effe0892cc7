"""Reading a source in a test: its documents, its notes, its error; and files in every container."""

import bz2
import csv
import gzip
import io
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from nanogpt_cli.data.sources.base import SourceOptions
from nanogpt_cli.data.sources.open import open_sources
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Event, Notice, Warned


class Notes:
    """A reporter that keeps what a source says."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.warnings: list[str] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.message)
        if isinstance(event, Warned):
            self.warnings.append(event.message)

    def close(self) -> None:
        pass


def documents(*names: str | Path, notes: Notes | None = None, **options: object) -> list[str]:
    """Every document, whole."""
    source = open_sources([str(name) for name in names], SourceOptions(**options), notes)  # type: ignore[arg-type]
    return ["".join(document) for document in source.documents()]


def text(name: str | Path, **options: object) -> str:
    """The one document of a source."""
    (document,) = documents(name, **options)
    return document


def refusal(*names: str | Path, **options: object) -> NanoGPTError:
    """The error of reading a source: one line that says what is wrong, one that says what to type."""
    with pytest.raises(NanoGPTError) as caught:
        documents(*names, **options)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.hint
    return caught.value


def zstd(raw: bytes) -> bytes:
    """A Zstandard frame."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(raw)
    return bytes(sink.getvalue().to_pybytes())


COMPRESS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd}


def jsonl(rows: list[object]) -> bytes:
    """JSON lines."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def csv_bytes(rows: list[list[object]], **dialect: str | int) -> bytes:
    """A CSV file as the standard library writes it."""
    sink = io.StringIO(newline="")
    csv.writer(sink, **dialect).writerows(rows)  # type: ignore[arg-type]
    return sink.getvalue().encode()


def parquet_bytes(columns: dict[str, object], **options: object) -> bytes:
    """A Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, **options)
    return bytes(sink.getvalue().to_pybytes())

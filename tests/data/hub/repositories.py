"""Small datasets in the formats that the Hugging Face hub serves, as the bytes of their files."""

import csv
import io
import json
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq


def texts(tag: str, count: int = 30) -> list[str]:
    """Documents of a few words, each with a newline inside and at its end."""
    return [f"{tag} {i}: To be, or not to be,\nthat is question {i * i}.\n" for i in range(count)]


def parquet(columns: Mapping[str, Sequence[object]], *, row_group_size: int = 10) -> bytes:
    """A Parquet file of several row groups."""
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), buffer, row_group_size=row_group_size)
    return buffer.getvalue()


def jsonl(column: str, values: Sequence[object]) -> bytes:
    """One JSON object a line."""
    return "".join(json.dumps({column: value}) + "\n" for value in values).encode()


def csv_file(column: str, values: Sequence[str]) -> bytes:
    """A table with a header and quoted fields."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(["id", column])
    writer.writerows(enumerate(values))
    return buffer.getvalue().encode()


def card(front_matter: str) -> bytes:
    """A dataset card: README.md with YAML before the text."""
    return f"---\n{front_matter.strip()}\n---\n\n# A dataset\n".encode()

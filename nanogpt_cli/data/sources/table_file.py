"""A table as a source: each row is a document."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nanogpt_cli.data.sources.base import SourceOptions, pieces
from nanogpt_cli.data.sources.byte_stream import COMPRESSED_SUFFIXES, Meter, open_file
from nanogpt_cli.data.sources.columns import choose_text_column
from nanogpt_cli.data.sources.csv_table import CsvTable
from nanogpt_cli.data.sources.json_table import WHOLE_RECORD, JsonTable
from nanogpt_cli.data.sources.known_formats import PARQUET_MAGIC
from nanogpt_cli.data.sources.opening import Opening
from nanogpt_cli.data.sources.parquet_table import ParquetTable
from nanogpt_cli.data.sources.table_rows import RowCounter, TableReader
from nanogpt_cli.data.sources.text_file import name_after
from nanogpt_cli.events import NullReporter, Reporter

JSON: Final = ".json"
_LONGEST_FOUND: Final = 1 << 24  # characters of one record
_TABLE_SUFFIXES: Final = (".jsonl", ".ndjson", JSON, ".csv", ".tsv", ".parquet")


def table_suffix_of(path: Path) -> str | None:
    """How a table is to be read, by its name's ending or Parquet's first bytes; None for a text."""
    name = path.name.lower()
    for suffix in COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    named = next((suffix for suffix in _TABLE_SUFFIXES if name.endswith(suffix)), None)
    if named is not None:
        return named
    with open_file(path, Meter()) as stream:
        return ".parquet" if stream.head.startswith(PARQUET_MAGIC) else None


class TableFile:
    """A .jsonl, .json, .csv, .tsv or .parquet file, also compressed: a collection of its rows' texts."""

    kind = "table"
    collection = True
    repeatable = True

    def __init__(
        self,
        path: Path,
        suffix: str,
        options: SourceOptions,
        reporter: Reporter,
        *,
        one_of_many: bool = False,
    ) -> None:
        """Reads the table's beginning; raises NanoGPTError where no column is the text.

        `one_of_many` may hold no text at all: it was found in a folder, not named.
        """
        self._meter = Meter()
        self._one_of_many = one_of_many
        opening = Opening(path, options, reporter, self._meter)
        self.label = opening.label
        self.dataset_name = name_after(path)
        self.size_bytes: int | None = path.stat().st_size
        self._reporter = reporter
        self._table = _reader(opening, suffix, one_of_many)
        columns = self._table.columns()
        if WHOLE_RECORD in columns and suffix in (".jsonl", ".ndjson", JSON):
            self._column = WHOLE_RECORD
        else:
            self._column = choose_text_column(columns, options.text_column, self.label, NullReporter())
        # The column, where it was not asked for and there are others: whoever opened the table tells.
        self.guessed_column = self._column if options.text_column is None and len(columns) > 1 else None

    @property
    def done_bytes(self) -> int:
        """Bytes of the file read so far."""
        return self._meter.done

    def documents(self) -> Iterator[Iterator[str]]:
        """One document per row that has a text; how many have none is reported at the end."""
        self._meter.done = 0
        rows = RowCounter(self._column, self.label)
        for value in self._table.values(self._column):
            if rows.keeps(value):
                assert isinstance(value, str)
                yield pieces(value)
        rows.report(self._reporter, one_of_many=self._one_of_many)


def _reader(opening: Opening, suffix: str, one_of_many: bool) -> TableReader:
    if suffix == ".parquet":
        return ParquetTable(opening)
    if suffix in (".csv", ".tsv"):
        return CsvTable(opening, separator="," if suffix == ".csv" else "\t")
    if (
        one_of_many
    ):  # a .json file in a folder is often something else, and need not be parsed whole to see it
        return JsonTable(opening, lines=suffix != JSON, longest=_LONGEST_FOUND)
    return JsonTable(opening, lines=suffix != JSON)

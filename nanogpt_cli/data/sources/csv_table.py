"""Tables in CSV and TSV (RFC 4180) with a header: quoted newlines, long fields, other separators."""

import csv
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from nanogpt_cli.data.sources.columns import TEXT
from nanogpt_cli.data.sources.opening import Opening
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Notice

if TYPE_CHECKING:
    import _csv

# The module's own limit is 131,072 characters. Beyond this one a quote is missing, and would fill the memory.
_LONGEST_FIELD: Final = 1 << 29
_OTHER_SEPARATORS: Final = {";": "';'", "\t": "tabs", "|": "'|'"}


class CsvTable:
    """A .csv or .tsv file."""

    def __init__(self, opening: Opening, *, separator: str) -> None:
        self._opening = opening
        self._usual_separator = separator

    def columns(self) -> dict[str, str]:
        """The header's names: all may hold text."""
        header = self._header(self._rows())
        doubled = sorted({name for name in header if header.count(name) > 1})
        if doubled:
            raise NanoGPTError(
                f"{self._opening.label}, line 1: two columns are called {doubled[0]!r}",
                "the first line must name the columns; a plain text needs the ending .txt",
            )
        return dict.fromkeys(header, TEXT)

    def values(self, column: str) -> Iterator[str | None]:
        """The fields of a column; None where a row is too short to have it."""
        rows = self._rows()
        header = self._header(rows)
        place, width = header.index(column), len(header)
        try:
            for row in rows:
                if len(row) > width and any(row[width:]):
                    raise NanoGPTError(
                        f"{self._opening.label}, line {rows.line_num:,}: {len(row)} fields under a header "
                        f"of {width}",
                        "put fields that hold the separator in quotes; a plain text needs the ending .txt",
                    )
                if row:  # none: an empty line
                    yield row[place] if place < len(row) else None
        except csv.Error as error:
            raise self._malformed(rows.line_num, str(error)) from None

    def _header(self, rows: "_csv.Reader") -> list[str]:
        try:
            return [name.strip() for name in next(rows, [])]
        except csv.Error as error:
            raise self._malformed(rows.line_num, str(error)) from None

    def _rows(self) -> "_csv.Reader":
        """Each row's fields; `line_num` is the line a row ends in."""
        csv.field_size_limit(_LONGEST_FIELD)  # one for the whole process; nothing else here reads CSV
        lines = self._opening.lines()
        first = next(lines, "")
        # Strict: a quote out of place is an error, where the default would drop it from the text.
        return csv.reader(
            itertools.chain([first] if first else [], lines), delimiter=self._separator(first), strict=True
        )

    def _separator(self, header: str) -> str:
        usual = self._usual_separator
        if usual in header:
            return usual
        for other, name in _OTHER_SEPARATORS.items():
            if other in header:
                self._opening.reporter.emit(
                    Notice(message=f"{self._opening.label}: columns are separated by {name}")
                )
                return other
        return usual

    def _malformed(self, line: int, why: str) -> NanoGPTError:
        label = self._opening.label
        if "unexpected end" in why or "field larger" in why:
            return NanoGPTError(
                f"{label}: a quote is opened and never closed",
                'a quote inside of a field is written twice: "she said ""yes"""',
            )
        return NanoGPTError(
            f"{label}, line {line:,}: not CSV ({why})",
            'a field with quotes stands between quotes, each of its own twice: "she said ""yes"""',
        )

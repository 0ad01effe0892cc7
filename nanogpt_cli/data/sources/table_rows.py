"""The rows of a table: which give a document, which are skipped and counted, which are an error."""

import shlex
from collections.abc import Iterator
from typing import Protocol

from nanogpt_cli.data.sources.columns import LISTS, OBJECTS, nested_value
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Reporter, Warned


class TableReader(Protocol):
    """How one format of tables is read, again for every pass."""

    def columns(self) -> dict[str, str]:
        """Each column's name and what it holds (see columns.py), from the table's beginning."""

    def values(self, column: str) -> Iterator[object]:
        """The column's value in every row: a str, or what else stands there; None where nothing does."""


class RowCounter:
    """Tells documents from other values, and says at the end how many rows were skipped, and why."""

    def __init__(self, column: str, what: str) -> None:
        self._column = column
        self._what = what
        self._where = f"column {column!r} of {what}" if column else what
        self._texts = 0
        self._nulls = 0  # null, or a row without the column
        self._empty = 0
        self._others = 0  # numbers, true and false

    def keeps(self, value: object) -> bool:
        """Whether a value is a document. Nested values raise: whoever has them expects them to be used."""
        if isinstance(value, str):
            self._texts += bool(value)
            self._empty += not value
            return bool(value)
        if isinstance(value, list | dict):
            raise nested_value(self._column, self._what, LISTS if isinstance(value, list) else OBJECTS)
        self._nulls += value is None
        self._others += value is not None
        return False

    def report(self, reporter: Reporter, *, one_of_many: bool = False) -> None:
        """Say how many rows were skipped; a table without a single text is an error, unless `one_of_many`."""
        kinds = (("null", self._nulls), ("empty", self._empty), ("no text", self._others))
        reasons = ", ".join(f"{count:,} {kind}" for kind, count in kinds if count)
        if not self._texts and not one_of_many:
            raise NanoGPTError(
                f"{self._where} holds no text" + (f" in any of its rows ({reasons})" if reasons else ""),
                f"name another column: nanogpt prepare {shlex.quote(self._what)} --text-column NAME",
            )
        if reasons:
            rows = self._nulls + self._empty + self._others
            plural = "s" if rows > 1 else ""
            reporter.emit(
                Warned(message=f"{self._where}: {rows:,} row{plural} without text skipped ({reasons})")
            )

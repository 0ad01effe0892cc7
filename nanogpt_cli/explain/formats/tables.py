r"""Tables: a CSV file of losses, a Markdown table, the Trainer's table in a notebook.

    iter,train_loss,val_loss,lr      | step | loss | val loss |      Step	Training Loss	Validation Loss
    250,1.9,2.0,0.0006               | 250  | 1.9  | 2.0      |      500	No log	3.1

A header names the columns; the rows follow it at once. Empty cells and words in place of numbers are passed
over.
"""

import re
from typing import Final, NamedTuple

from nanogpt_cli.explain.assemble import Assembler
from nanogpt_cli.explain.formats.numbers import NUMBER, number
from nanogpt_cli.explain.records import EvalPoint, IterPoint, Trainer

_MAX_COLUMNS: Final = 100
_MAX_STEP: Final = 1e12
_SEPARATORS: Final = ("\t", ",", ";", "|")
_SPACES: Final = re.compile(r"\s{2,20}")
_NUMBER: Final = re.compile(NUMBER, re.ASCII)
_WORD: Final = re.compile(r"[\s_/.-]{1,9}")
_QUOTES: Final = " \"'`*"
_RULE: Final = frozenset("|-:+= \t")
# Best first: litgpt counts micro-batches in `iter` and updates in `step`.
_COUNTERS: Final = ("iter", "iteration", "iter num", "step", "global step", "steps", "epoch")
_LOSSES: Final = ("loss", "train loss", "training loss", "loss train")
_VALIDATIONS: Final = ("val loss", "validation loss", "eval loss", "valid loss", "test loss", "loss val")
_RATES: Final = ("lr", "learning rate", "train lr")


class _Columns(NamedTuple):
    """Where the header says that things stand."""

    separator: str
    width: int
    counter: int
    loss: int | None
    val: int | None
    lr: int | None
    of_the_trainer: bool  # its "Training Loss" is of the batches, not an estimate over both splits


class TableReader:
    """Hands the rows of a table to the assembler."""

    def __init__(self, assembler: Assembler) -> None:
        self._assembler = assembler
        self._columns: _Columns | None = None

    @property
    def in_table(self) -> bool:
        """Whether rows may follow, so that bare numbers mean something."""
        return self._columns is not None

    def feed(self, line: str) -> bool:
        """Take one line; False if it is neither a header nor a row."""
        if self._columns is not None:
            if self._row(line, self._columns) or not set(line) - _RULE:
                return True
            self._columns = None
        if "oss" not in line or "=" in line or ": " in line:
            return False
        self._columns = _header(line)
        return self._columns is not None

    def _row(self, line: str, columns: _Columns) -> bool:
        cells = _cells(line, columns.separator)
        if len(cells) == columns.width + 1 and columns.separator != ",":
            cells = cells[1:]  # the index of a data frame
        if len(cells) < min(columns.width, 2) or columns.counter >= len(cells):
            return False
        counter = _value(cells, columns.counter)
        if counter is None or not 0 <= counter < _MAX_STEP:
            return False
        iter_num, loss, val = int(counter), _value(cells, columns.loss), _value(cells, columns.val)
        trainer: Trainer = "hf-trainer" if columns.of_the_trainer else "unknown"
        lr = _value(cells, columns.lr)
        if loss is not None and (val is None or columns.of_the_trainer):
            self._assembler.add_iter(trainer, IterPoint(iter_num, loss, lr=lr))
        if val is not None:
            train = None if columns.of_the_trainer else loss
            self._assembler.add_eval(trainer, EvalPoint(iter_num, train, val, lr=lr))
        return True


def _header(line: str) -> _Columns | None:
    separator = next((mark for mark in _SEPARATORS if mark in line), "")
    cells = _cells(line, separator)
    names = [" ".join(_WORD.split(cell.strip(_QUOTES).lower())) for cell in cells]
    counter, loss, val = (_first(names, known) for known in (_COUNTERS, _LOSSES, _VALIDATIONS))
    if not 2 <= len(names) <= _MAX_COLUMNS or counter is None or (loss is None and val is None):
        return None
    of_the_trainer = loss is not None and cells[loss].strip() == "Training Loss"
    return _Columns(separator, len(names), counter, loss, val, _first(names, _RATES), of_the_trainer)


def _cells(line: str, separator: str) -> list[str]:
    line = line.strip("| \t") if separator == "|" else line.strip("\n ")
    return line.split(separator, _MAX_COLUMNS) if separator else _SPACES.split(line.strip(), _MAX_COLUMNS)


def _first(names: list[str], known: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def _value(cells: list[str], column: int | None) -> float | None:
    if column is None or column >= len(cells):
        return None
    cell = cells[column].strip(_QUOTES)
    return number(cell) if _NUMBER.fullmatch(cell) else None

"""Tables in JSON: one record a line (.jsonl, .ndjson), or a list of records or records in a row (.json).

A record is an object, whose keys are the columns, or a string, which is a text by itself. Memory holds one
record and about a megabyte more.
"""

import itertools
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Final, NoReturn

from nanogpt_cli.data.sources.columns import LISTS, OBJECTS, TEXT
from nanogpt_cli.data.sources.json_blocks import column_of
from nanogpt_cli.data.sources.opening import Opening
from nanogpt_cli.errors import NanoGPTError

WHOLE_RECORD: Final = ""  # the column of records that are strings themselves
_LOOKED_AT: Final = 100  # records that tell the columns
_LONGEST_RECORD: Final = 1 << 28  # what is longer is a list inside of something, and would fill the memory
_NEAR_END: Final = 16  # an incomplete number, literal or escape fails within so many characters of the end
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_LONE_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_KINDS: Final = {
    str: TEXT,
    list: LISTS,
    dict: OBJECTS,
    bool: "true or false",
    int: "numbers",
    float: "numbers",
}


class JsonTable:
    """A .jsonl file (`lines`), or a .json one."""

    def __init__(self, opening: Opening, *, lines: bool, longest: int = _LONGEST_RECORD) -> None:
        """`longest` is the number of characters from which on a value in a .json file is no record."""
        self._opening = opening
        self._longest = longest
        self._lines = lines

    def columns(self) -> dict[str, str]:
        """The keys of the first records, in order, each with the kind of its first value that is not null."""
        found: dict[str, str] = {}
        with_records = self._records()
        for _, record in itertools.islice(with_records, _LOOKED_AT):
            if isinstance(record, str):
                return {WHOLE_RECORD: TEXT}
            for key, value in record.items():
                if found.get(key, "nulls") == "nulls":
                    found[key] = _KINDS.get(type(value), "nulls")
        return found

    def values(self, column: str) -> Iterator[object]:
        """`column` of every record; a lone surrogate, which no text can hold, is an error."""
        if not self._lines or column == WHOLE_RECORD:
            return (self._value(record, column, line) for line, record in self._records())
        return itertools.chain.from_iterable(self._by_block(column))

    def _by_block(self, column: str) -> Iterator[Iterable[object]]:
        line = 1
        for block in self._opening.blocks():
            fast = column_of(block, column)
            if fast is None:
                records = self._checked(self._of_block(block, line))
                yield (self._value(record, column, number) for number, record in records)
            else:
                yield fast
            line += block.count("\n")

    def _value(self, record: "dict[str, object] | str", column: str, line: int) -> object:
        value = record if isinstance(record, str) else record.get(column)
        if isinstance(value, str) and not value.isascii() and _LONE_SURROGATE.search(value):
            if self._opening.options.errors == "strict":
                raise NanoGPTError(
                    f"{self._opening.label}, line {line:,}: half a character (a lone \\ud83d or alike)",
                    f"nanogpt prepare {shlex.quote(self._opening.label)} --errors replace",
                )
            return _LONE_SURROGATE.sub("\ufffd", value)
        return value

    def _records(self) -> Iterator[tuple[int, "dict[str, object] | str"]]:
        """Each record with its line, from 1."""
        return self._checked(self._by_line() if self._lines else self._by_value())

    def _checked(
        self, found: Iterator[tuple[int, object]]
    ) -> Iterator[tuple[int, "dict[str, object] | str"]]:
        for line, value in found:
            if not isinstance(value, dict | str):
                kind = _KINDS.get(type(value), "null")
                raise NanoGPTError(
                    f"{self._opening.label}, line {line:,}: a record must be an object, not {kind}",
                    'each record as {"text": "..."}',
                )
            yield line, value

    def _by_line(self) -> Iterator[tuple[int, object]]:
        line = 1
        for block in self._opening.blocks():
            yield from self._of_block(block, line)
            line += block.count("\n")

    def _of_block(self, block: str, first: int) -> Iterator[tuple[int, object]]:
        decode = json.JSONDecoder().raw_decode
        for number, text in enumerate(block.split("\n"), start=first):
            record = text.strip(" \t\r")
            if not record:
                continue
            try:
                value, end = decode(record)
            except (ValueError, RecursionError) as error:  # ValueError also for numbers of 4,300 digits
                self._refuse(number, error)
            if end < len(record):
                self._refuse(number, json.JSONDecodeError("Extra data", record, end))
            yield number, value

    def _by_value(self) -> Iterator[tuple[int, object]]:
        text = _Window(self._opening.text(), self._longest)
        if not text.next_character():
            return
        listed = text.skip("[")
        while character := text.next_character():
            if listed and text.skip("]"):
                if text.next_character():
                    self._refuse(text.line, "more follows the end of the list")
                return
            if character == "," and listed:
                self._refuse(text.line, "a record is missing before the comma")
            line = text.line
            try:
                value = text.take_value()
            except (ValueError, RecursionError) as error:
                self._refuse(line, error)
            yield line, value
            if listed and text.next_character() != "]" and not text.skip(","):
                break
        if listed:
            self._refuse(text.line, "the list ends too early" if text.at_end else "a comma is missing")

    def _refuse(self, line: int, error: "Exception | str") -> NoReturn:
        label = self._opening.label
        if isinstance(error, json.JSONDecodeError):
            line += error.lineno - 1
            why = f"{error.msg[0].lower()}{error.msg[1:]}, column {error.colno:,}"
        else:
            why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        hint = f"look at it: sed -n {line}p {shlex.quote(label)}"
        if self._opening.compressed:
            hint = "look at that line of the unpacked file, and write it anew"
        raise NanoGPTError(f"{label}, line {line:,}: not JSON ({why})", hint)


class _Window:
    """A stretch of a long text, with the place in it: values are taken off its beginning."""

    def __init__(self, pieces: Iterator[str], longest: int) -> None:
        self.line = 1
        self.at_end = False
        self._pieces = pieces
        self._longest = longest
        self._text = ""
        self._at = 0
        self._decode = json.JSONDecoder().raw_decode

    def next_character(self) -> str:
        """The next one that is no white space, which is skipped; empty at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None
            self._move(match.end())
            if self._at < len(self._text) or self.at_end:
                return self._text[self._at : self._at + 1]
            self._grow(1)

    def skip(self, character: str) -> bool:
        """Whether the next character is this; then it is taken."""
        if self.next_character() != character:
            return False
        self._move(self._at + 1)
        return True

    def take_value(self) -> object:
        """The JSON value that begins here; raises ValueError where there is none."""
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                unfinished = error.msg.startswith("Unterminated string")
                if self.at_end or not (unfinished or error.pos >= len(self._text) - _NEAR_END):
                    raise json.JSONDecodeError(
                        error.msg, self._text[self._at :], error.pos - self._at
                    ) from None
            else:
                self._move(end)  # a number might go on, but is no record anyway
                return value
            if len(self._text) - self._at > self._longest:
                raise ValueError(f"a record of more than {self._longest:,} characters")
            self._grow(2 * (len(self._text) - self._at))  # doubling: a long record is scanned a few times

    def _move(self, to: int) -> None:
        self.line += self._text.count("\n", self._at, to)
        self._at = to

    def _grow(self, to_length: int) -> None:
        """Drop what was taken, and read on to at least `to_length` more characters, or the end."""
        parts = [self._text[self._at :]]
        length = len(parts[0])
        while length < to_length and not self.at_end:
            piece = next(self._pieces, "")
            parts.append(piece)
            length += len(piece)
            self.at_end = not piece
        self._text, self._at = "".join(parts), 0

"""Many lines at once: a trainer's usual line as one pattern over a whole block of text.

A log has mostly one kind of line. `findall` reads a block of them several times as fast as line by line,
and once a run is thinned, a point is made only of the few that stay. What the pattern does not fit exactly is
left to the trainer's reader, line by line.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from nanogpt_cli.explain.formats.numbers import DIGITS, NUMBER, PLAIN, fraction, number
from nanogpt_cli.explain.records import IterPoint, Trainer

Row = tuple[str, ...]


class Columns(NamedTuple):
    """Consecutive iteration lines: what ordering and thinning need, and how to make a point of line `i`."""

    iters: list[int]
    losses: list[float] | None  # None: the lines give none
    times_ms: list[float] | None
    point: Callable[[int], IterPoint]


class Usual(NamedTuple):
    """A trainer's usual line."""

    trainer: Trainer
    pattern: re.Pattern[str]  # its first group is the whole line, its last any other line: none is lost
    columns: Callable[[Sequence[Row]], Columns]


def _floats(texts: Sequence[str]) -> list[float]:
    return list(map(number, texts)) if any("," in text for text in texts) else list(map(float, texts))


def _nanogpt(rows: Sequence[Row]) -> Columns:
    iters, losses, times, mfus = ([row[i] for row in rows] for i in range(1, 5))
    numbers, loss, ms = list(map(int, iters)), _floats(losses), _floats(times)

    def point(i: int) -> IterPoint:
        percent = number(mfus[i])
        return IterPoint(numbers[i], loss[i], ms[i], fraction(percent), percent < 0)

    return Columns(numbers, loss, ms, point)


def _nanochat(rows: Sequence[Row]) -> Columns:
    numbers = [int(row[1]) for row in rows]
    loss, ms = _floats([row[2] for row in rows]), _floats([row[3] for row in rows])

    def point(i: int) -> IterPoint:
        speed, percent = rows[i][4], rows[i][5]
        return IterPoint(
            numbers[i],
            loss[i],
            ms[i],
            fraction(float(percent)),
            tokens_per_second=float(speed.replace(",", "")),
        )

    return Columns(numbers, loss, ms, point)


def _llm_c(rows: Sequence[Row]) -> Columns:
    numbers, loss = [int(row[1]) for row in rows], _floats([row[2] for row in rows])

    def point(i: int) -> IterPoint:
        lr, norm = rows[i][3], rows[i][4]
        return IterPoint(
            numbers[i], loss[i], lr=number(lr) if lr else None, grad_norm=number(norm) if norm else None
        )

    return Columns(numbers, loss, None, point)


def _metrics(rows: Sequence[Row]) -> Columns:
    numbers, loss = [int(row[1]) for row in rows], _floats([row[2] for row in rows])
    ms = _floats([row[5] for row in rows])

    def point(i: int) -> IterPoint:
        lr, norm, speed, mfu = (float(text) if text else None for text in (*rows[i][3:5], *rows[i][6:8]))
        return IterPoint(numbers[i], loss[i], ms[i], mfu, False, lr, norm, speed)

    return Columns(numbers, loss, ms, point)


def _usual(trainer: Trainer, line: str, columns: Callable[[Sequence[Row]], Columns]) -> Usual:
    return Usual(trainer, re.compile(rf"^(?:({line})|(.*))$", re.ASCII | re.MULTILINE), columns)


_ITER: Final = rf"iter (\d{{1,12}}): loss ({NUMBER}), time ({DIGITS})ms, mfu ({NUMBER})%"
# A time stamp or the like; a rank's number is looked at line by line.
_PREFIX: Final = r"(?!\[|\d{1,4}: ).{1,60}?[\s|>:\"]"

USUAL: Final = (
    _usual("nanogpt", _ITER, _nanogpt),
    _usual("nanogpt", _PREFIX + _ITER, _nanogpt),
    _usual(
        "nanochat",
        rf"step (\d{{1,9}})/\d{{1,9}} \([\d.]{{1,9}}%\) \| loss: ({NUMBER}) \| lrm: [\d.]{{1,9}}"
        rf" \| dt: ({PLAIN})ms \| tok/sec: ([\d,]{{1,19}}) \| (?:bf16_)?mfu: ({PLAIN}) \| .{{0,200}}",
        _nanochat,
    ),
    _usual(
        "ours",
        rf'{{"v":\d{{1,3}},"event":"step","step":(\d{{1,12}}),"loss":({NUMBER})(?:,"lr":({NUMBER}))?'
        rf'(?:,"grad_norm":({NUMBER}))?,"step_ms":({NUMBER})(?:,"tok_per_sec":({NUMBER}))?(?:,"mfu":({NUMBER}))?'
        r'(?:,"tokens":\d{1,18})?}',
        _metrics,
    ),
    _usual("llm.c", rf"s:(\d{{1,12}}) trl:({NUMBER})(?: lr:({NUMBER}))?(?: norm:({NUMBER}))?", _llm_c),
)

"""Many lines at once: a trainer's usual line as one pattern over a whole block of text.

A log has mostly one kind of line. `findall` reads a block of them several times as fast as line by line,
and once a run is thinned, a point is made only of the few that stay. What the pattern does not fit exactly is
left to the trainer's reader, line by line.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from nanogpt_cli.explain.formats.numbers import fraction, number
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


def _floats(texts: Iterable[str]) -> list[float]:
    try:
        return list(map(float, texts))
    except ValueError:  # decimal commas
        return list(map(number, texts))


def _nanogpt(rows: Sequence[Row]) -> Columns:
    _, iters, losses, times, mfus, *_ = zip(*rows, strict=True)
    numbers, loss, ms = list(map(int, iters)), _floats(losses), _floats(times)

    def point(i: int) -> IterPoint:
        percent = number(mfus[i])
        return IterPoint(numbers[i], loss[i], ms[i], fraction(percent), percent < 0)

    return Columns(numbers, loss, ms, point)


def _nanochat(rows: Sequence[Row]) -> Columns:
    _, iters, losses, times, *_ = zip(*rows, strict=True)
    numbers, loss, ms = list(map(int, iters)), _floats(losses), _floats(times)

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
    _, iters, losses, *_ = zip(*rows, strict=True)
    numbers, loss = list(map(int, iters)), _floats(losses)

    def point(i: int) -> IterPoint:
        lr, norm = rows[i][3], rows[i][4]
        return IterPoint(
            numbers[i], loss[i], lr=number(lr) if lr else None, grad_norm=number(norm) if norm else None
        )

    return Columns(numbers, loss, None, point)


def _metrics(rows: Sequence[Row]) -> Columns:
    _, iters, losses, _, _, times, *_ = zip(*rows, strict=True)
    numbers, loss, ms = list(map(int, iters)), _floats(losses), _floats(times)

    def point(i: int) -> IterPoint:
        lr, norm, speed, mfu = (float(text) if text else None for text in (*rows[i][3:5], *rows[i][6:8]))
        return IterPoint(numbers[i], loss[i], ms[i], mfu, False, lr, norm, speed)

    return Columns(numbers, loss, ms, point)


def _usual(trainer: Trainer, line: str, columns: Callable[[Sequence[Row]], Columns]) -> Usual:
    return Usual(trainer, re.compile(rf"^(?:({line})|(.*))$", re.ASCII | re.MULTILINE), columns)


# As NUMBER and COUNT, but possessive: what has matched is not tried again with fewer digits, which takes half
# the time. Rarer spellings are left to the readers.
_N: Final = r"(\d{1,20}+(?:[.,]\d{1,20}+)?+(?:e[-+]\d\d)?+|nan)"
_I: Final = r"(\d{1,12}+)"
_ITER: Final = rf"iter {_I}: loss {_N}, time {_N}ms, mfu (-?+\d{{1,9}}+\.\d{{1,9}}+)%"
# A time stamp or the like; a rank's number is looked at line by line.
_PREFIX: Final = r"(?!\[|\d{1,4}: ).{1,60}?[\s|>:\"]"

USUAL: Final = (
    _usual("nanogpt", _ITER, _nanogpt),
    _usual("nanogpt", _PREFIX + _ITER, _nanogpt),
    _usual(
        "nanochat",
        rf"step {_I}/\d{{1,9}}+ \([\d.]{{1,9}}+%\) \| loss: {_N} \| lrm: [\d.]{{1,9}}+ \| dt: {_N}ms"
        rf" \| tok/sec: ([\d,]{{1,19}}+) \| (?:bf16_)?mfu: {_N} \| .{{0,200}}",
        _nanochat,
    ),
    _usual(
        "ours",
        rf'{{"v":\d{{1,3}}+,"event":"step","step":{_I},"loss":{_N}(?:,"lr":{_N})?(?:,"grad_norm":{_N})?'
        rf',"step_ms":{_N}(?:,"tok_per_sec":{_N})?(?:,"mfu":{_N})?(?:,"tokens":\d{{1,18}}+)?}}',
        _metrics,
    ),
    _usual("llm.c", rf"s:{_I} trl:{_N}(?: lr:{_N})?+(?: norm:{_N})?+", _llm_c),
)

r"""modded-nanogpt and its many records: only the validation loss is printed, and the time since the start.

    step:125/1393 val_loss:4.3817 train_time:15300ms step_avg:133.04ms
    step:126/1393 train_time:15434ms step_avg:133.05ms                (no training loss)
    step:1/6000 train_loss:11.0091 train_time:24179ms step_avg:nanms  (records of 2024)
    step:125/3350 val_loss:4.66393 train_time:22.870s step_avg:182.95ms

Before them stands the program's whole source. "step_avg:nanms" is the average over no step yet. The clock
stands still during validation and was reset after ten steps in older records.
https://github.com/KellerJordan/modded-nanogpt
"""

import re
from typing import Final

from nanogpt_cli.explain.assemble import Assembler
from nanogpt_cli.explain.formats.numbers import DIGITS, NUMBER, milliseconds, number
from nanogpt_cli.explain.records import EvalPoint, IterPoint, Trainer

_STEP: Final = re.compile(
    rf"(?<![\w.])step:(\d{{1,9}})/(\d{{1,9}})(?: (val_loss|train_loss|loss):({NUMBER}))?[^\n]{{0,200}}?"
    rf" train_time:({DIGITS})(ms|s)\b",
    re.ASCII,
)
_VAL_ONLY: Final = re.compile(
    rf"(?<![\w.])step:(\d{{1,9}})/(\d{{1,9}}) (val_loss|train_loss):({NUMBER})", re.ASCII
)


class ModdedReader:
    """Hands modded-nanogpt's lines to the assembler."""

    trainer: Trainer = "modded-nanogpt"

    def __init__(self, assembler: Assembler) -> None:
        self._assembler = assembler
        self._step = -1
        self._clock_ms = 0.0

    def feed(self, line: str) -> bool:
        """Take one line; False if it is none of modded-nanogpt's."""
        if line.startswith("peak memory ") and self._step >= 0:  # printed after the last step
            self._assembler.end("modded-nanogpt", self._clock_ms / 1000)
            return True
        if "step:" not in line:
            return False
        if found := _STEP.search(line):
            step, total, kind, loss, clock, unit = found.groups()
            clock_ms = milliseconds(clock, unit)
        elif found := _VAL_ONLY.search(line):
            (step, total, kind, loss), clock_ms = found.groups(), self._clock_ms
        else:
            return False
        iter_num = int(step)
        if kind == "val_loss":
            self._assembler.add_eval("modded-nanogpt", EvalPoint(iter_num, None, number(loss)))
        else:
            took = self._took(iter_num, clock_ms)
            point = IterPoint(iter_num, number(loss) if loss else None, took)
            self._assembler.add_iter("modded-nanogpt", point)
        self._step, self._clock_ms = iter_num, clock_ms
        run = self._assembler.current
        run.config["max_iters"] = int(total)
        run.wall_seconds = clock_ms / 1000
        return True

    def _took(self, iter_num: int, clock_ms: float) -> float | None:
        """Time of one step: what the clock went on since the line before, which may show the same step."""
        steps, elapsed = iter_num - self._step, clock_ms - self._clock_ms
        if self._step < 0 or steps < 1 or elapsed < 0:
            return None  # the first line, another run, or the clock was reset
        return elapsed / steps

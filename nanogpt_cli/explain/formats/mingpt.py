r"""minGPT: a tqdm bar per epoch, or a line every so many iterations.

    epoch 13 iter 16: train loss 2.12197. lr 5.937751e-04: 100%|█████████| 17/17 [00:04<00:00,  4.10it/s]
    iter_dt 12.34ms; iter 100: train loss 2.34567
    … - mingpt.trainer - INFO - test loss: 1.234567

The iteration counts within the epoch; the points count through. https://github.com/karpathy/minGPT
"""

import re
from typing import Final

from nanogpt_cli.explain.assemble import Assembler
from nanogpt_cli.explain.formats.numbers import DIGITS, NUMBER, milliseconds, number
from nanogpt_cli.explain.records import EvalPoint, IterPoint, Trainer

_EPOCH: Final = re.compile(
    rf"(?<![\w.])epoch (\d{{1,9}}) iter (\d{{1,12}}): train loss ({DIGITS})\. lr ({NUMBER})", re.ASCII
)
_BAR: Final = re.compile(r"\| {0,9}\d{1,12}/(\d{1,12}) \[", re.ASCII)
_ITER: Final = re.compile(
    rf"(?<![\w.])(?:iter_dt ({DIGITS})\s?(ms)|(?:dt )?{DIGITS}); iter (\d{{1,12}}): train loss ({NUMBER})",
    re.ASCII,
)
_TEST: Final = re.compile(rf"(?:^| - INFO - )(?:test|val) loss: ({NUMBER})$", re.ASCII)


class MinGPTReader:
    """Hands minGPT's lines to the assembler."""

    trainer: Trainer = "mingpt"

    def __init__(self, assembler: Assembler) -> None:
        self._assembler = assembler
        self._per_epoch = 0
        self._last = -1

    def feed(self, line: str) -> bool:
        """Take one line; False if it is none of minGPT's."""
        if " loss" not in line:
            return False
        if found := _EPOCH.search(line):
            return self._epoch(line, found)
        if found := _ITER.search(line):
            time, unit, iter_num, loss = found.groups()
            time_ms = milliseconds(time, unit) if time else None
            self._assembler.add_iter("mingpt", IterPoint(int(iter_num), number(loss), time_ms))
            return True
        if (found := _TEST.search(line)) and self._assembler.last_iter is not None:
            self._assembler.add_eval("mingpt", EvalPoint(self._assembler.last_iter, None, number(found[1])))
            return True
        return False

    def _epoch(self, line: str, found: re.Match[str]) -> bool:
        epoch, within = int(found[1]), int(found[2])
        if bar := _BAR.search(line):
            self._per_epoch = int(bar[1])
        elif epoch <= 1:
            self._per_epoch = max(self._per_epoch, within + 1)
        iter_num = max(0, epoch - 1) * self._per_epoch + within
        if iter_num == self._last:
            return True  # tqdm draws a line again and again
        self._last = iter_num
        self._assembler.add_iter("mingpt", IterPoint(iter_num, number(found[3]), lr=number(found[4])))
        self._assembler.current.epochs_seen = float(epoch)
        return True

r"""Loops of people's own: any line with a step or an epoch and a loss, in whatever order and punctuation.

    Step 2000 | Train Loss: 1.0597 | Val Loss: 1.4687 | LR: 9.9e-04
    Epoch [3/10], Step [100/937], Loss: 2.3456
    Iteration 500 - training_loss=3.21 - validation loss = 3.30
    Epoch 3:  45%|████▌     | 450/1000 [00:12<00:15, 35.2it/s, loss=2.31]

Where an epoch's steps are counted from the beginning again, they are counted through. This reader comes last:
what another one understands never arrives here.
"""

import re
from typing import Final

from nanogpt_cli.explain.assemble import Assembler
from nanogpt_cli.explain.formats.fields import fields
from nanogpt_cli.explain.formats.numbers import NUMBER, number
from nanogpt_cli.explain.records import EvalPoint, IterPoint, Trainer

_MARKER: Final = re.compile(
    r"(?<![\w./-])(global[ _]step|iter(?:ation)?s?|steps?|updates?|batch(?:es)?|epochs?|it|ep)"
    r"[\s:=#\[(|]{1,12}(\d{1,12})(?![\w.])(?:\]?\s?(?:/|of)\s?\[?(\d{1,12}))?",
    re.IGNORECASE | re.ASCII,
)
# A progress bar's "| 450/1000 [", and "[1480/1504]" beside an epoch.
_BAR: Final = re.compile(r"\| {0,9}(\d{1,12})/(\d{1,12}) \[", re.ASCII)
_BRACKET: Final = re.compile(r"\[ {0,9}(\d{1,12})/(\d{1,12})[\] ]", re.ASCII)
# "val loss: 2.2", "val_loss=2.2", "val/loss 2.2", and "val 2.2" where a decimal follows.
_AMOUNT: Final = (
    rf"(?:[\s_/-](?:avg[ _])?loss(?:es)?\W{{1,4}}|[\s:=]{{1,3}}(?=\d{{1,9}}[.,]\d|nan|inf))({NUMBER})"
)
_VAL: Final = re.compile(
    rf"(?<![\w/])(?:val(?:id(?:ation)?)?|eval(?:uation)?|test|dev){_AMOUNT}", re.IGNORECASE | re.ASCII
)
_TRAIN: Final = re.compile(rf"(?<![\w/])(?:train(?:ing)?|tr){_AMOUNT}", re.IGNORECASE | re.ASCII)
_LOSS: Final = re.compile(
    r"(?<![\w/.-])(?:(?:avg|average|mean|total|lm|smooth(?:ed)?)[ _])?loss(?:\s?\(\w{1,9}\))?"
    rf"\W{{1,4}}({NUMBER})",
    re.IGNORECASE | re.ASCII,
)
# "best val loss 1.47" repeats an evaluation.
_SUMMARY: Final = re.compile("best|lowest|minimum", re.IGNORECASE)


class GenericReader:
    """Hands lines of unknown loops to the assembler."""

    trainer: Trainer = "unknown"

    def __init__(self, assembler: Assembler) -> None:
        self._assembler = assembler
        self._epoch = -1
        self._step = -1  # as printed
        self._offset = 0  # steps of the epochs before
        self._given = -1  # the iteration of the last line
        self._line = ""

    def feed(self, line: str) -> bool:
        """Take one line; False if it has no counter or no loss."""
        named = "oss" in line or "OSS" in line  # "train 2.1 val 2.2" names no loss
        if not (named or ("val" in line and "train" in line)) or line.startswith("wandb:"):
            return False
        val, train = _VAL.search(line), _TRAIN.search(line)
        loss = train or _LOSS.search(line)
        if (val is None and loss is None) or not (named or (val and train)):
            return False
        iter_num = self._counter(line, evaluated=val is not None)
        if iter_num is None:
            return False
        if val is not None:
            train_loss = number(loss[1]) if loss and loss.start(1) != val.start(1) else None
            lr = fields(line).lr
            self._assembler.add_eval("unknown", EvalPoint(iter_num, train_loss, number(val[1]), lr=lr))
        elif loss is not None:
            self._assembler.add_iter("unknown", IterPoint(iter_num, number(loss[1]), *fields(line)))
        return True

    def _counter(self, line: str, *, evaluated: bool) -> int | None:
        """The step, counted through all epochs; the epoch where no line has a step."""
        epoch = step = total = None
        for found in _MARKER.finditer(line):
            if found[1].lower().startswith("ep"):
                epoch = epoch if epoch is not None else int(found[2])
            elif step is None:
                step, total = int(found[2]), int(found[3]) if found[3] else None
        bar = _BAR.search(line) or (_BRACKET.search(line) if epoch is not None else None)
        if step is None and bar:
            step, total = int(bar[1]), int(bar[2])
        if step is not None:
            number = self._through(epoch, step, total or 0)
        elif self._step >= 0:
            # An epoch's closing line: its evaluation belongs to the last step, its mean loss to none.
            return self._offset + self._step if evaluated and not _SUMMARY.search(line) else None
        elif epoch is None:
            return None
        else:
            number = self._of_epoch(epoch, line)
        self._given, self._line = number, line
        return number

    def _through(self, epoch: int | None, step: int, total: int) -> int:
        if epoch is None:
            self._step = step
            return step
        if epoch != self._epoch:
            if epoch < self._epoch or self._epoch < 0:
                self._offset = 0
            elif step <= self._step:  # it starts again in every epoch
                self._offset += max(self._step, total)
            self._epoch = epoch
        self._step = step
        return self._offset + step

    def _of_epoch(self, epoch: int, line: str) -> int:
        """Lines that name an epoch only; several of one epoch are counted."""
        if epoch == self._epoch and line != self._line:
            return self._given + 1
        first, self._epoch = epoch < self._epoch or self._epoch < 0, epoch
        return epoch if first else max(epoch, self._given if line == self._line else self._given + 1)

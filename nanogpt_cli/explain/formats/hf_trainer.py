r"""Hugging Face's Trainer: dict lines, and other loops that log a dict or JSON per line.

    {'loss': 2.1234, 'grad_norm': 0.51, 'learning_rate': 4.9e-05, 'epoch': 0.12}
    {'loss': '2.123', 'grad_norm': '0.51', 'learning_rate': '4.9e-05', 'epoch': '0.12'}       (transformers 5)
    {'eval_loss': 2.0, 'eval_runtime': 12.3, 'epoch': 1.0}
    {'train_runtime': 123.4, 'train_steps_per_second': 3.3, 'train_loss': 2.3, 'epoch': 3.0}   (the end)
    {"step": 100, "loss": 2.3}        {"current_steps": 87, "total_steps": 11250, "loss": 2.1, …}

A dict of the Trainer names no step. It is taken from the progress bar, else worked out from the epoch and
the announced number of steps, else the lines are counted. https://github.com/huggingface/transformers
"""

import math
import re
from typing import Final

from nanogpt_cli.explain.assemble import Assembler
from nanogpt_cli.explain.formats.numbers import COUNT, NUMBER, count, number
from nanogpt_cli.explain.records import EvalPoint, IterPoint, Trainer

_MAX_STEP: Final = 10**12
_PAIR: Final = re.compile(rf"['\"]([\w/]{{1,40}})['\"]\s?:\s?['\"]?({NUMBER})", re.ASCII)
_BAR: Final = re.compile(r"\| {0,9}(\d{1,12})/(\d{1,12}) \[", re.ASCII)
_ANNOUNCED: Final = re.compile(
    rf"(Num Epochs|Total optimization steps|Number of trainable parameters) = ({COUNT})", re.ASCII
)
_RESUMED: Final = re.compile(r"Continuing training from global step (\d{1,12})", re.ASCII)
_SAVED: Final = re.compile(r"Saving model checkpoint to .{0,300}checkpoint-(\d{1,12})", re.ASCII)
_STEP_KEYS: Final = ("step", "global_step", "current_steps", "iter", "iteration", "iter_num", "_step")
_LOSS_KEYS: Final = ("loss", "train_loss", "train/loss", "training_loss")
_VAL_KEYS: Final = (
    "eval_loss",
    "val_loss",
    "val/loss",
    "eval/loss",
    "valid_loss",
    "validation_loss",
    "test_loss",
)
_LR_KEYS: Final = ("learning_rate", "lr", "train/lr", "train/learning_rate")


class HFTrainerReader:
    """Hands dict lines to the assembler."""

    trainer: Trainer = "hf-trainer"

    def __init__(self, assembler: Assembler) -> None:
        self._assembler = assembler
        self._total_steps = 0
        self._total_epochs = 0
        self._bar = 0  # step the progress bar shows; 0: there is none
        self._logged = 0  # step of the last line

    def feed(self, line: str) -> bool:
        """Take one line; False if it gives no loss and says nothing about the training."""
        bar = "/" in line and "| " in line and self._progress(line)
        if "loss" in line and ("{" in line or "':" in line or '":' in line) and self._dict(line):
            return True
        if "loss" in line:  # of another reader's, perhaps drawn beside a bar
            return False
        return bar or (" = " in line and self._announced(line)) or self._event(line)

    def _progress(self, line: str) -> bool:
        found = _BAR.search(line)
        if found is None:
            return False
        step, total = int(found[1]), int(found[2])
        # Evaluations draw bars of their own; the training's comes first.
        if not self._total_steps:
            self._total_steps = total
        if total == self._total_steps:
            self._bar = step
        return True

    def _dict(self, line: str) -> bool:
        values = {name: number(text) for name, text in _PAIR.findall(line)}
        if "train_runtime" in values:
            self._end(values)
            return True
        loss, val = _first(values, _LOSS_KEYS), _first(values, _VAL_KEYS)
        if loss is None and val is None:
            return False
        epoch, step = values.get("epoch"), _first(values, _STEP_KEYS)
        hf = epoch is not None or "current_steps" in values
        trainer: Trainer = "hf-trainer" if hf else "unknown"
        if step is None and epoch is not None:
            iter_num = self._step(epoch, evaluating=loss is None)
        elif step is not None and 0 <= step < _MAX_STEP:
            iter_num = int(step)
        else:
            return False  # a loss of nobody knows when
        if val is not None:
            self._assembler.add_eval(trainer, EvalPoint(iter_num, None if hf else loss, val))
        elif loss is not None:
            lr = _first(values, _LR_KEYS)
            point = IterPoint(iter_num, loss, lr=lr, grad_norm=values.get("grad_norm"))
            self._assembler.add_iter(trainer, point)
        if hf:
            self._facts(epoch)
        elif "total_steps" in values and 0 < values["total_steps"] < _MAX_STEP:
            self._assembler.current.config["max_iters"] = int(values["total_steps"])
        return True

    def _facts(self, epoch: float | None) -> None:
        run = self._assembler.current
        run.epochs_seen = epoch
        if self._total_steps:
            run.config["max_iters"] = self._total_steps

    def _step(self, epoch: float, *, evaluating: bool) -> int:
        """The step a dict without one belongs to."""
        if self._bar > self._logged or (evaluating and self._bar):
            # A bar that is drawn seldom lags behind the lines counted since; a step back would be a resume.
            step = max(self._bar, self._logged)
        elif self._total_steps and self._total_epochs and math.isfinite(epoch):
            step = round(min(epoch / self._total_epochs, 1.0) * self._total_steps)
        elif evaluating:
            step = self._logged
        else:
            step = self._logged + 1
        if not evaluating:
            step = step if step != self._logged else self._logged + 1
            self._logged = step
        return max(0, step)

    def _end(self, values: dict[str, float]) -> None:
        self._assembler.end("hf-trainer", values["train_runtime"])
        run = self._assembler.current
        run.epochs_seen = values.get("epoch", run.epochs_seen)
        self._bar = self._logged = self._total_steps = self._total_epochs = 0

    def _announced(self, line: str) -> bool:
        found = _ANNOUNCED.search(line)
        if found is None:
            return False
        run, value = self._assembler.header("hf-trainer"), count(found[2]) or 0
        if found[1] == "Num Epochs":
            self._total_epochs = value
        elif found[1] == "Total optimization steps":
            self._total_steps, self._bar, self._logged = value, 0, 0
            run.config["max_iters"] = value
        else:
            run.n_params = value or None
        return True

    def _event(self, line: str) -> bool:
        if "checkpoint" in line and (found := _SAVED.search(line)):
            self._assembler.add_checkpoint(int(found[1]))
            return True
        if "global step" in line and _RESUMED.search(line):
            self._assembler.header("hf-trainer").resuming = True
            return True
        return False


def _first(values: dict[str, float], names: tuple[str, ...]) -> float | None:
    return next((values[name] for name in names if name in values), None)

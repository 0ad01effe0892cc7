"""What a rule receives and returns: a `Case` with the facts several rules need, and a `Finding`."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from nanogpt_cli.explain.nanogpt_text import DEFAULTS
from nanogpt_cli.explain.records import Log, Run

Severity = Literal["info", "warning", "error"]
Number = int | float | str

A100_PEAK_FLOPS = 312e12  # dense bfloat16; nanoGPT divides by it whatever the device (model.py, estimate_mfu)


class LossPoint(NamedTuple):
    """An iteration whose training loss is known and finite."""

    iter_num: int
    loss: float


class LossPair(NamedTuple):
    """An evaluation of both splits, both finite."""

    iter_num: int
    train_loss: float
    val_loss: float


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing worth saying about a run; its words are in the catalogue under `message_key`."""

    code: str  # stable, documented
    severity: Severity
    iters: tuple[int, ...] = ()  # where to look
    confidence: float = 1.0  # 0..1
    numbers: Mapping[str, Number] = field(default_factory=dict)  # the evidence, and the message's values
    variant: str = ""  # another wording of the same finding

    @property
    def message_key(self) -> str:
        """`overfitting` or `overfitting.strong`."""
        return f"{self.code}.{self.variant}" if self.variant else self.code


_PARAMS_ROUNDING = 5_000  # "0.80M" is rounded to 0.01 million


def _default(name: str) -> float | None:
    value = DEFAULTS.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


@dataclass(frozen=True)
class Case:
    """One run of one log, and what several rules want to know about it."""

    log: Log
    run: Run

    def setting(self, name: str) -> float | None:
        """A numeric setting: as printed, else nanoGPT's default where the log shows that defaults hold."""
        known = self.run.setting(name)
        if known is None and self._defaults_hold:
            return _default(name)
        return known

    @cached_property
    def _defaults_hold(self) -> bool:
        """Whether what was not printed has nanoGPT's default.

        Forks have others, and an edited train.py prints no override. So the header must give tokens per
        iteration, they must follow from the settings, and the evaluations must come at eval_interval.
        """
        run = self.run
        if not run.nanogpt_habits or run.tokens_per_iter is None:
            return False
        values = [
            run.setting(name) or _default(name) or 0
            for name in ("batch_size", "block_size", "gradient_accumulation_steps", "eval_interval")
        ]
        batch_size, block_size, accumulation, eval_interval = values
        if batch_size * block_size * accumulation != run.tokens_per_iter:
            return False
        return all(e.iter_num % max(1, eval_interval) == 0 for e in run.evals)

    @cached_property
    def evals(self) -> list[LossPair]:
        """Evaluations with two finite losses."""
        return [
            LossPair(e.iter_num, e.train_loss, e.val_loss)
            for e in self.run.evals
            if e.train_loss is not None and math.isfinite(e.train_loss) and math.isfinite(e.val_loss)
        ]

    @cached_property
    def iters(self) -> list[LossPoint]:
        """Iterations with a finite loss."""
        return [
            LossPoint(p.iter_num, p.loss)
            for p in self.run.iters
            if p.loss is not None and math.isfinite(p.loss)
        ]

    @cached_property
    def eval_iters(self) -> frozenset[int]:
        """Iterations at which an evaluation took place."""
        return frozenset(e.iter_num for e in self.run.evals)

    @cached_property
    def ordinary_times_ms(self) -> list[float]:
        """Times without what an evaluation or a process's first iteration adds."""
        starts = set(self.run.process_starts)
        return [
            p.time_ms
            for p in self.run.iters
            if p.time_ms is not None
            and math.isfinite(p.time_ms)
            and p.iter_num not in starts
            and not (self.run.nanogpt_habits and p.iter_num in self.eval_iters)
        ]

    @cached_property
    def median_ms(self) -> float | None:
        """The usual time of an iteration."""
        return statistics.median(self.ordinary_times_ms) if self.ordinary_times_ms else None

    @cached_property
    def untrained_loss(self) -> float | None:
        """Loss of a model that knows nothing: ln(vocab_size), else what iteration 0 showed."""
        if self.run.untrained_loss is not None:
            return self.run.untrained_loss
        return None if self.run.pretrained else self.loss_at_zero

    @cached_property
    def loss_at_zero(self) -> float | None:
        """The loss before the first update: the evaluation's, which is more exact, or the batch's."""
        if self.evals and self.evals[0].iter_num == 0:
            return self.evals[0].train_loss
        return self.iters[0].loss if self.iters and self.iters[0].iter_num == 0 else None

    @cached_property
    def span(self) -> int:
        """Iterations between the first and the last point."""
        first, last = self.run.first_iter, self.run.last_iter
        return 0 if first is None or last is None else last - first

    @cached_property
    def model_shape(self) -> tuple[int, int, int] | None:
        """(n_layer, n_embd, block_size), if they agree with the number of parameters the log gives."""
        values = [self.setting(name) for name in ("n_layer", "n_embd", "block_size")]
        n_layer, n_embd, block_size = (int(value) if value else 0 for value in values)
        if not (n_layer and n_embd and block_size and self.run.n_params):
            return None
        # N = 12 · L · C² for the blocks plus V · C for the tied embedding, and little else; V below 300,000.
        embedding = self.run.n_params - 12 * n_layer * n_embd**2
        fits = -_PARAMS_ROUNDING < embedding < 300_000 * n_embd
        return (n_layer, n_embd, block_size) if fits else None

    def recent_loss(self, points: int = 5) -> float | None:
        """Median of the last training losses: single batches are noisy."""
        return statistics.median([p.loss for p in self.iters[-points:]]) if self.iters else None

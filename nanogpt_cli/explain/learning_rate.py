"""The learning rate of a run: as logged, else as nanoGPT's schedule gives it from the printed settings."""

import itertools
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Final

from nanogpt_cli.explain.records import Run

SCHEDULE_SETTINGS: Final = ("learning_rate", "min_lr", "warmup_iters", "lr_decay_iters", "max_iters")

# Rates that trained well at a size (parameters): GPT-3, Brown et al. 2020, table 2.1; below GPT-2 small the
# rate of nanoGPT's Shakespeare configuration. All for AdamW.
_USUAL_RATES: Final = (
    (1e7, 1e-3),
    (1.25e8, 6e-4),
    (3.5e8, 3e-4),
    (7.6e8, 2.5e-4),
    (1.3e9, 2e-4),
    (2.7e9, 1.6e-4),
    (6.7e9, 1.2e-4),
    (1.3e10, 1e-4),
)


def usual_rate(n_params: float) -> float:
    """A peak learning rate that is usual for a model of this many parameters, with AdamW."""
    if n_params <= _USUAL_RATES[0][0]:
        return _USUAL_RATES[0][1]
    for (small, high), (large, low) in itertools.pairwise(_USUAL_RATES):
        if n_params <= large:
            share = math.log(n_params / small) / math.log(large / small)
            return float(high * (low / high) ** share)
    return _USUAL_RATES[-1][1]


class LearningRate:
    """Peak, end and flat tail of a run's learning rate; None wherever the log does not tell."""

    def __init__(self, run: Run, settings: Mapping[str, float | None]) -> None:
        self._run = run
        self._settings = settings

    @cached_property
    def logged(self) -> list[tuple[int, float]]:
        """(iteration, rate) as printed; evaluations where the iterations give none."""
        points = [(p.iter_num, p.lr) for p in self._run.iters] or []
        if all(rate is None for _, rate in points):
            points = [(e.iter_num, e.lr) for e in self._run.evals]
        return [(i, rate) for i, rate in points if rate is not None and math.isfinite(rate)]

    @property
    def decays(self) -> bool:
        """Whether nanoGPT's decay_lr is on, which it is unless the log says otherwise."""
        return self._run.config.get("decay_lr", True) is not False

    @cached_property
    def peak(self) -> float | None:
        """The highest rate the run had, or was set to have."""
        highest = max((rate for _, rate in self.logged), default=0.0)
        return highest or self._settings["learning_rate"] or None

    def at(self, iter_num: int) -> float | None:
        """The rate at an iteration: the one logged last, else nanoGPT's cosine schedule."""
        before = [rate for i, rate in self.logged if i <= iter_num]
        return before[-1] if before else self._scheduled(iter_num)

    def _scheduled(self, iter_num: int) -> float | None:
        peak, floor = self._settings["learning_rate"], self._settings["min_lr"]
        warmup, decay = self._settings["warmup_iters"], self._settings["lr_decay_iters"]
        if peak is None:
            return None
        if not self.decays:
            return peak
        if floor is None or warmup is None or decay is None:
            return None
        if iter_num < warmup:
            return peak * (iter_num + 1) / (warmup + 1)
        if iter_num >= decay:
            return floor
        share = (iter_num - warmup) / (decay - warmup)
        return floor + 0.5 * (1 + math.cos(math.pi * share)) * (peak - floor)

    def end_share(self, last_iter: int) -> float | None:
        """The rate at the end as a fraction of the peak."""
        end = self.at(last_iter)
        return end / self.peak if end is not None and self.peak else None

    def flat_since(self, last_iter: int) -> int | None:
        """The iteration since which the rate has stood at its low final value; None if it has not."""
        if self.logged:
            end = self.logged[-1][1]
            if self.peak is None or end > 0.5 * self.peak:
                return None
            # The first iteration of the stretch at the end whose rate is the final one.
            since = self.logged[-1][0]
            for i, rate in reversed(self.logged):
                if rate > 1.02 * end:
                    break
                since = i
            return since
        decay = self._settings["lr_decay_iters"]
        if not self.decays or self._settings["learning_rate"] is None or decay is None or decay >= last_iter:
            return None
        return int(decay)

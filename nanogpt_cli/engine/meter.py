"""Numbers of a log interval that can be trusted: means over all of it, and time of training alone."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Norms:
    """Gradient norms of some iterations before clipping, added up."""

    total: float = 0.0
    count: int = 0
    clipped: int = 0  # of them, those beyond grad_clip

    @property
    def mean(self) -> float | None:
        """None while there is none."""
        return self.total / self.count if self.count else None

    @property
    def clipped_share(self) -> float | None:
        """0..1, None while there is none."""
        return self.clipped / self.count if self.count else None


@dataclass(frozen=True, kw_only=True)
class Interval:
    """What happened between two log lines."""

    loss_sum: Tensor  # scalar, on the device: of this rank
    iters: int
    step_ms: float  # mean of one iteration
    norms: Norms


class Meter:
    """Collects what happens between two log lines. Its clock stands still while the run evaluates or saves.

    `synchronize` waits for the device; it is called only when the clock is read, never per iteration. A loss
    or a norm is a scalar on the device, and is not read before the interval ends.
    """

    def __init__(
        self,
        *,
        device: torch.device,
        synchronize: Callable[[], None],
        tokens_per_iter: int,
        grad_clip: float = 0.0,
    ) -> None:
        self.synchronize = synchronize
        self.tokens_per_iter = tokens_per_iter
        self.loss_sum = torch.zeros((), device=device)
        self.loss_iters = 0
        self._limit = grad_clip or math.inf
        self._norms = Norms()
        self._unread_norms: list[Tensor] = []
        self._timed_iters = 0
        self._elapsed_seconds = 0.0
        self._started_at: float | None = None
        self.interval_ms: list[float] = []  # mean ms per iteration of every interval, in order

    # --- While it runs

    def start(self) -> None:
        """Let the clock run, if it stands."""
        if self._started_at is None:
            self._started_at = time.perf_counter()

    def pause(self) -> None:
        """Stop the clock once the device has done what it was given."""
        if self._started_at is not None:
            self.synchronize()
            self._elapsed_seconds += time.perf_counter() - self._started_at
            self._started_at = None

    def add(self, loss: Tensor | None, grad_norm: Tensor | None = None) -> None:
        """Count one iteration by its loss and the norm of its gradient; None if it was skipped."""
        self._timed_iters += 1
        if loss is not None:
            self.loss_sum += loss
            self.loss_iters += 1
            if grad_norm is not None:
                self._unread_norms.append(grad_norm)

    def norms(self) -> Norms:
        """The interval's gradient norms until now. Note: this waits for the device."""
        if self._unread_norms:
            values = torch.stack(self._unread_norms).tolist()
            self._unread_norms = []
            total, count, clipped = self._norms.total, self._norms.count, self._norms.clipped
            for value in values:  # one by one: a run that was saved in between adds up to the same bits
                if math.isfinite(value):  # a GradScaler meets infinite ones, and skips their step
                    total, count, clipped = total + value, count + 1, clipped + (value > self._limit)
            self._norms = Norms(total=total, count=count, clipped=clipped)
        return self._norms

    def close_interval(self) -> Interval:
        """What the interval was; then begin a new one."""
        self.pause()
        self.start()
        step_ms = 1000 * self._elapsed_seconds / self._timed_iters
        self.interval_ms.append(step_ms)
        closed = Interval(loss_sum=self.loss_sum, iters=self.loss_iters, step_ms=step_ms, norms=self.norms())
        self.loss_sum = torch.zeros_like(self.loss_sum)
        self.loss_iters = self._timed_iters = 0
        self._norms = Norms()
        self._elapsed_seconds = 0.0
        return closed

    def go_on(self, *, loss_sum: float, iters: int, norms: Norms) -> None:
        """Take up an interval that a checkpoint had cut in two."""
        self.loss_sum += loss_sum
        self.loss_iters = iters
        self._norms = norms

    # --- Over all intervals

    def median_ms(self) -> float | None:
        """Median over the intervals of ms per iteration; the first, with warm-up, counts only when alone."""
        settled = self._settled_ms()
        return statistics.median(settled) if settled else None

    def percentile_ms(self, percent: float) -> float | None:
        """The value that `percent` of the intervals do not exceed (nearest rank), the first left out too."""
        settled = sorted(self._settled_ms())
        return settled[max(0, math.ceil(percent / 100 * len(settled)) - 1)] if settled else None

    def recent_ms(self) -> float | None:
        """The median over the latest intervals only, for the ETA."""
        # Sliced from the end: copying the whole history at every log line would grow with the run.
        recent = self.interval_ms[max(1, len(self.interval_ms) - 20) :] or self.interval_ms
        return statistics.median(recent) if recent else None

    def _settled_ms(self) -> list[float]:
        return self.interval_ms[1:] or self.interval_ms

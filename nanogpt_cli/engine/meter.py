"""Numbers of a log interval that can be trusted: mean loss, and time without evaluations and saves."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor


class Meter:
    """Collects what happens between two log lines. Its clock stands still while the run evaluates or saves.

    `synchronize` waits for the device; it is called only when the clock is read, never per iteration.
    """

    def __init__(
        self, *, device: torch.device, synchronize: Callable[[], None], tokens_per_iter: int
    ) -> None:
        self.synchronize = synchronize
        self.tokens_per_iter = tokens_per_iter
        self.loss_sum = torch.zeros((), device=device)
        self.loss_iters = 0
        self._timed_iters = 0
        self._elapsed_seconds = 0.0
        self._started_at: float | None = None
        self.interval_ms: list[float] = []  # mean ms per iteration of every interval, in order

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

    def add(self, loss: Tensor | None) -> None:
        """Count one iteration; `loss` is a scalar on the device and is not read here, None if skipped."""
        self._timed_iters += 1
        if loss is not None:
            self.loss_sum += loss
            self.loss_iters += 1

    def close_interval(self) -> tuple[Tensor, int, float]:
        """Loss sum on the device, number of iterations, mean ms per iteration; then begin a new interval."""
        self.pause()
        self.start()
        step_ms = 1000 * self._elapsed_seconds / self._timed_iters
        self.interval_ms.append(step_ms)
        loss_sum, iters = self.loss_sum, self.loss_iters
        self.loss_sum = torch.zeros_like(loss_sum)
        self.loss_iters = self._timed_iters = 0
        self._elapsed_seconds = 0.0
        return loss_sum, iters, step_ms

    def median_ms(self) -> float | None:
        """Median over the intervals of ms per iteration; the first, with warm-up, counts only when alone."""
        settled = self.interval_ms[1:] or self.interval_ms
        return statistics.median(settled) if settled else None

    def recent_ms(self) -> float | None:
        """The same over the latest intervals only, for the ETA."""
        # Sliced from the end: copying the whole history at every log line would grow with the run.
        recent = self.interval_ms[max(1, len(self.interval_ms) - 20) :] or self.interval_ms
        return statistics.median(recent) if recent else None

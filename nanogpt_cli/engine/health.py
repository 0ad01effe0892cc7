"""Watching a run's health: what to do with a number that is not finite, and when a loss is a spike."""

import math
import statistics
from collections import deque
from typing import Final

# A batch that overflows is bad luck; ten in a row, or a hundred in all, are a run that has diverged.
MAX_SKIPPED_IN_A_ROW: Final = 10
MAX_SKIPPED: Final = 100

_WINDOW: Final = 50  # logged losses that say what is usual
_MIN_WINDOW: Final = 20
_Z_LIMIT: Final = 6.0  # of the robust score; a normal distribution passes it once in a billion log lines
_MIN_RISE: Final = 0.1  # and a tenth above the usual loss: a nearly constant loss has nearly no scatter
_MAD_TO_SIGMA: Final = 1.4826  # median absolute deviation → standard deviation of a normal distribution


class SpikeDetector:
    """Tells when a logged loss stands far above the recent ones: by median and MAD, which no spike moves."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        self._in_spike = False

    def add(self, loss: float) -> float | None:
        """Robust z-score of `loss` where a spike begins, else None; a spike is reported once."""
        score = self._score(loss)
        begins = score is not None and not self._in_spike
        self._in_spike = score is not None
        self._recent.append(loss)
        return score if begins else None

    def _score(self, loss: float) -> float | None:
        if len(self._recent) < _MIN_WINDOW:
            return None
        usual = statistics.median(self._recent)
        scatter = _MAD_TO_SIGMA * statistics.median(abs(value - usual) for value in self._recent)
        score = (loss - usual) / max(scatter, 1e-12)
        return score if score > _Z_LIMIT and loss > (1 + _MIN_RISE) * usual else None


class SkipBudget:
    """Counts the iterations that were skipped, and says when there were too many."""

    def __init__(self) -> None:
        self.total = 0
        self._in_a_row = 0

    def ok(self) -> None:
        """An iteration went well."""
        self._in_a_row = 0

    def spend(self) -> bool:
        """Count one skipped iteration; False when that was one too many."""
        self.total += 1
        self._in_a_row += 1
        return self.total <= MAX_SKIPPED and self._in_a_row <= MAX_SKIPPED_IN_A_ROW


def nonfinite_words(loss: float, grad_norm: float) -> str:
    """Which of the two is not finite, with both values."""
    what = "gradient" if math.isfinite(loss) else "loss"
    return f"the {what} is not finite (loss {loss:g}, gradient norm {grad_norm:g})"

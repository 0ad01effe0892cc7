"""How much numbers of a log scatter, measured from the log itself, robustly: an outlier changes nothing."""

import math
import statistics
from collections.abc import Sequence
from typing import Final, TypeGuard

# The median absolute deviation of normal noise is 0.6745 standard deviations.
_MAD_TO_SIGMA: Final = 1.4826


# Beyond this a loss is no number to work with: it has overflowed or the line is damaged.
_LARGEST_LOSS: Final = 1e9


def is_sound(loss: float | None) -> TypeGuard[float]:
    """Whether it is a loss to work with: there, finite, and not absurdly large."""
    return loss is not None and abs(loss) < _LARGEST_LOSS


def spread(values: Sequence[float]) -> float:
    """Standard deviation of `values`, estimated by their median absolute deviation."""
    centre = statistics.median(values)
    return _MAD_TO_SIGMA * statistics.median(abs(value - centre) for value in values)


def noise_of(values: Sequence[float]) -> float | None:
    """Standard deviation of the noise of a curve, free of its trend; None from fewer than five values.

    The second difference a - 2b + c of a straight line is zero, and of noise with deviation s it has
    deviation s·sqrt(6).
    """
    bends = [a - 2 * b + c for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    if len(bends) < 3:
        return None
    return _MAD_TO_SIGMA * statistics.median(abs(bend) for bend in bends) / math.sqrt(6)


def correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Pearson's correlation of two curves' second differences: whether they wobble together, 0 if unknown."""
    pairs = [
        (a - 2 * b + c, d - 2 * e + f)
        for a, b, c, d, e, f in zip(first, first[1:], first[2:], second, second[1:], second[2:], strict=False)
    ]
    if len(pairs) < 3:
        return 0.0
    xs, ys = zip(*pairs, strict=True)
    norm = math.hypot(*xs) * math.hypot(*ys)
    return sum(x * y for x, y in pairs) / norm if norm else 0.0

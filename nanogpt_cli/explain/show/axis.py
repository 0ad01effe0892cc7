"""Ticks of an axis: round numbers, written as short as they can be and in the reader's language."""

import math

from nanogpt_cli.explain.catalogue import Catalogue

_MAX_DECIMALS = 4
_LARGE = 1e13  # tokens of the largest trainings are below; what lies above is a broken number
_SMALL = 2e-3  # an axis that ends below is written in powers of ten, as learning rates are: 6e-4


def linear_ticks(low: float, high: float, wanted: int) -> list[float]:
    """About `wanted` multiples of 1, 2 or 5 times a power of ten inside [low, high]."""
    rough = (high - low) / max(1, wanted)
    if not (rough > 0 and math.isfinite(rough)):
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def log_ticks(low: float, high: float, wanted: int) -> list[float]:
    """About `wanted` of 1, 2, 5 times a power of ten inside [low, high], both above 0."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found = [
            f * 10.0**e for e in exponents for f in factors if low * 0.999 <= f * 10.0**e <= high * 1.001
        ]
        if not ticks or len(found) <= wanted:
            ticks = found
    every = max(1, math.ceil(len(ticks) / max(1, wanted)))
    return ticks[::every]


def tick_text(words: Catalogue, value: float, step: float, largest: float | None = None) -> str:
    """`2,000`, `600k`, `0.25`, `6e-5`; `step` tells how many decimals keep two ticks apart.

    `largest` is the largest tick of the axis, which decides the unit of all of them.
    """
    if value == 0:
        return "0"
    size, step = abs(value), abs(step) or abs(value)
    most = size if largest is None else abs(largest)
    if most >= _LARGE:
        return _power(value)
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if most >= 10 * unit:
            return words.text("plot", f"tick_{_decimals(step / unit)}", x=value / unit) + suffix
    if step < 0.9 * 10.0**-_MAX_DECIMALS or most < _SMALL:
        return _power(value)
    return words.text("plot", f"tick_{_decimals(step)}", x=value)


def _power(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def _decimals(step: float) -> int:
    """Decimals needed to write multiples of a round `step`."""
    return min(_MAX_DECIMALS, max(0, math.ceil(-math.log10(step) - 1e-9)))

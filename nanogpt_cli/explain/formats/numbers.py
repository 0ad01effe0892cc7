"""Numbers as logs print them: `3.1234`, `3,1234`, `1e-05`, `-nan`, `inf`, `524,288`.

Every quantifier in a format's pattern is bounded, so that a hostile line costs linear time.
"""

import math
from typing import Final

# Not "1,234": a comma is a decimal comma here; counts with thousands separators are COUNT.
DIGITS: Final = r"[-+]?(?:\d{1,20}(?:[.,]\d{1,20})?(?:[eE][-+]?\d{1,3})?|(?i:nan|inf(?:inity)?))"
NUMBER: Final = DIGITS + r"(?!\w)"  # DIGITS where a unit may follow at once: 12.3ms
PLAIN: Final = r"\d{1,15}(?:\.\d{1,12})?"  # a positive number without an exponent
COUNT: Final = r"\d[\d,_]{0,24}"
_MAX_COUNT: Final = 10**18


def number(text: str) -> float:
    """The value of what NUMBER matched."""
    try:
        return float(text)
    except ValueError:
        return float(text.replace(",", "."))


def count(text: str) -> int | None:
    """The value of what COUNT matched; None if it is zero or larger than anything that is counted."""
    value = int(text.replace(",", "").replace("_", ""))
    return value if 0 < value < _MAX_COUNT else None


def milliseconds(text: str, unit: str) -> float:
    """A duration printed in s, ms, us, m or h."""
    return number(text) * {"s": 1e3, "ms": 1.0, "us": 1e-3, "m": 6e4, "h": 3.6e6}[unit]


def fraction(percent: float) -> float | None:
    """A printed percentage as a fraction; None where a trainer prints a negative one for "not known"."""
    return percent / 100 if math.isfinite(percent) and percent >= 0 else None

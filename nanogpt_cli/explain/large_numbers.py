"""Large numbers as each language says them: 1.56 billion, 1,56 mil millones, 1,56 milliard, 15.6 亿.

Three digits are enough to speak of billions. A Spanish billón is a million millions (the long scale), and so
is a French billion, which readers of English take for less: there it is "mille milliards".
"""

from collections.abc import Mapping
from typing import Final

_LONGEST: Final = 1e15  # from here on a power of ten
# The sizes a language has a word for, the largest first: (size, one of it, several, short).
_WORDS: Final[Mapping[str, tuple[tuple[float, str, str, str], ...]]] = {
    "en": (
        (1e12, "trillion", "trillion", "T"),
        (1e9, "billion", "billion", "B"),
        (1e6, "million", "million", "M"),
    ),
    "es": (
        (1e12, "billón", "billones", "billones"),
        (1e9, "mil millones", "mil millones", "mil M"),
        (1e6, "millón", "millones", "M"),
    ),
    "fr": (
        (1e12, "mille milliards", "mille milliards", "mille Md"),
        (1e9, "milliard", "milliards", "Md"),
        (1e6, "million", "millions", "M"),
    ),
    "zh": ((1e12, "万亿", "万亿", "万亿"), (1e8, "亿", "亿", "亿"), (1e4, "万", "万", "万")),
}
_SINGULAR_BELOW: Final = {"es": 1.001, "fr": 2.0}  # French says "1,9 million", Spanish "1,9 millones"


def in_words(value: float, language: str) -> tuple[str, str] | None:
    """`5.17e6` → `("5.17", "million")`, the number not yet in the language's notation; None below a million
    and from 10¹⁵ on, for which there is `power_of_ten`.
    """
    found = _scaled(value, language)
    if found is None:
        return None
    number, (_, one, several, _) = found
    return number, one if float(number.replace(",", "")) < _SINGULAR_BELOW.get(language, 0.0) else several


def shortened(value: float, language: str) -> tuple[str, str] | None:
    """`1.56e9` → `("1.56", "B")`; None where `in_words` has none."""
    found = _scaled(value, language)
    return None if found is None else (found[0], found[1][3])


def power_of_ten(value: float) -> tuple[str, str]:
    """`2.94e21` → `("2.94", "× 10^21")`: raised digits are lost where a terminal knows only ASCII."""
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return mantissa, f"× 10^{int(exponent)}"


def _scaled(value: float, language: str) -> tuple[str, tuple[float, str, str, str]] | None:
    rounded = float(f"{value:.2e}")  # first, so that 999,999 thousand are a billion
    if not 1e6 <= rounded < _LONGEST:
        return None
    unit = next(unit for unit in _WORDS.get(language, _WORDS["en"]) if rounded >= unit[0])
    scaled = rounded / unit[0]
    return f"{scaled:,.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}", unit

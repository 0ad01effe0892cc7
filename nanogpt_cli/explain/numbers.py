"""Numbers, units and the spaces that belong to them, as each language writes them.

Spanish groups digits by a space from five digits on, as the Real Academia's Ortografía (2010) and ISO 80000-1
ask: a point would say "thousands" in Madrid and "decimals" in Mexico, a space is read alike by everybody.
French groups by a narrow no-break space and sets one before ; : ! ? and inside « » (Imprimerie nationale).
What a machine wrote or is to read stays as it is: a placeholder without a format, and powers of ten (6.0e-4).
"""

import math
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nanogpt_cli.explain.large_numbers import in_words, power_of_ten, shortened

NARROW_SPACE: Final = "\N{NARROW NO-BREAK SPACE}"

_SIZE: Final = re.compile(r"([\d.]+) ([KMGT])(i?)B")
_MACHINE_FORMATS: Final = "eEgG"
_BILLION: Final = 1e9
# Format → from where on in words (0: in letters), and whether a noun follows.
_LARGE_FORMATS: Final = {
    "amount": (1e6, ""),
    "amount-of": (1e6, "of"),
    "count": (_BILLION, ""),
    "count-of": (_BILLION, "of"),
    "short": (0.0, ""),
}
_LETTERS: Final = frozenset("MBT")  # English and Chinese set them without a space
_UNITS: Final = r"(?:%|[kMGT]?i?[BoW]\b|[kMGT]\b|TFLOP/s|TFLOPS\b|ms\b|min\b|[shdj]\b)"


@dataclass(frozen=True, kw_only=True)
class Notation:
    """How a language writes numbers."""

    decimal: str = "."
    group: str = ","
    grouped_from: int = 4  # digits before the decimal sign
    before_percent: str = ""
    byte: str = "B"
    unit_space: str = " "  # before a unit, where no line may end
    word_space: str = " "  # between a number and its "million"
    joins_words: bool = False  # "millones de parámetros"
    joins_marks: bool = False  # no-break spaces before ; : ! ? » and after «
    hanzi: bool = False  # a space stands between Chinese and Latin letters or digits, none inside Chinese


_NOTATIONS: Final[Mapping[str, Notation]] = {
    "es": Notation(
        decimal=",",
        group=NARROW_SPACE,
        grouped_from=5,
        before_percent=NARROW_SPACE,
        unit_space=NARROW_SPACE,
        word_space="\N{NO-BREAK SPACE}",
        joins_words=True,
    ),
    "zh": Notation(unit_space="\N{NO-BREAK SPACE}", word_space="\N{NO-BREAK SPACE}", hanzi=True),
    "fr": Notation(
        decimal=",",
        group=NARROW_SPACE,
        before_percent=NARROW_SPACE,
        byte="o",
        unit_space=NARROW_SPACE,
        word_space="\N{NO-BREAK SPACE}",
        joins_words=True,
        joins_marks=True,
    ),
}
_HANZI: Final = re.compile("[\u4e00-\u9fff]")
_SPACE_HANZI: Final = re.compile(" [\u4e00-\u9fff]")
_UNIT_SPACE: Final = re.compile(rf"(?<=[\d}}]) (?={_UNITS})")
_GROUP_SPACE: Final = re.compile(r"(?<=\d) (?=\d{3}(?!\d))")
_MARK_SPACE: Final = re.compile(r" (?=[;:!?»])|(?<=«) ")


class NumberFormatter(string.Formatter):
    """Fills a template's placeholders with numbers in a language's notation.

    Beside Python's formats there is `size`, for an amount of memory as a log names it: `6.14 GiB`. Large
    numbers have `amount`, in words from a million on; `count`, exact below a billion; `short`, in letters
    (`1.56B`, millions with two decimals); `amount-of` and `count-of` stand before a noun.
    """

    def __init__(self, language: str) -> None:
        self._language = language
        self._notation = _NOTATIONS.get(language, Notation())

    def fill(self, template: str, numbers: Mapping[str, Any]) -> str:
        """The template with its numbers; KeyError where one is missing."""
        if not self._notation.hanzi:
            return self.vformat(template, (), numbers)
        pieces = [""]
        for literal, name, spec, _ in self.parse(template):
            after_hanzi = _HANZI.match(pieces[-1][-1:]) and _SPACE_HANZI.match(literal)
            pieces.append(literal[1:] if after_hanzi else literal)
            if name is None:
                continue
            value = self.format_field(numbers[name], spec or "")
            if _HANZI.match(value) and pieces[-1].endswith(" "):
                pieces[-1] = pieces[-1][:-1]
            pieces.append(value)
        return "".join(pieces)

    def format_field(self, value: Any, format_spec: str) -> str:
        """One placeholder's text."""
        if format_spec == "size":
            return self._size(str(value))
        if format_spec in _LARGE_FORMATS:
            return self._large(float(value), *_LARGE_FORMATS[format_spec])
        text = format(value, format_spec)
        if not format_spec or format_spec[-1] in _MACHINE_FORMATS or not isinstance(value, int | float):
            return text
        if not math.isfinite(value):
            return "NaN" if math.isnan(value) else text.replace("inf", "∞")
        return self._number(text)

    def _number(self, text: str) -> str:
        """`1,234.5` or `12.5%` in this notation."""
        notation = self._notation
        whole, point, decimals = text.partition(".")
        digits = whole.replace(",", "")
        grouped = sum(map(str.isdigit, digits)) >= notation.grouped_from
        whole = whole.replace(",", notation.group) if grouped else digits
        return (whole + point.replace(".", notation.decimal) + decimals).replace(
            "%", notation.before_percent + "%"
        )

    def _large(self, value: float, words_from: float, of: str) -> str:
        """`1.56 billion`, `1,56 mil millones de `; as it is below `words_from`."""
        if words_from == 0:
            found = shortened(value, self._language) if value >= _BILLION else (f"{value / 1e6:,.2f}", "M")
        else:
            found = in_words(value, self._language) if value >= words_from else (f"{value:,.0f}", "")
        number, word = found or power_of_ten(value)
        number = self._number(number)
        if not word:
            return number
        space = self._notation.word_space
        if word in _LETTERS:
            space = self._notation.unit_space if self._notation.joins_words else ""
        preposition = " de" if of and self._notation.joins_words and found else ""
        return f"{number}{space}{word}{preposition}"

    def _size(self, text: str) -> str:
        """`6.14 GiB` as `6,14 Gio`; anything else as it is."""
        found = _SIZE.fullmatch(text)
        if found is None:
            return text
        return f"{self._number(found[1])}{self._notation.unit_space}{found[2]}{found[3]}{self._notation.byte}"


def with_fixed_spaces(text: str, language: str) -> str:
    """A text of a catalogue with no-break spaces where the language wants them.

    In the files stand ordinary spaces, which everybody can see and type.
    """
    notation = _NOTATIONS.get(language, Notation())
    text = _UNIT_SPACE.sub(notation.unit_space, text)
    if notation.group == NARROW_SPACE:
        text = _GROUP_SPACE.sub(NARROW_SPACE, text)
    return _MARK_SPACE.sub(NARROW_SPACE, text) if notation.joins_marks else text

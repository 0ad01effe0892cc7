"""The words: one TOML file per language in `messages/`, read once and filled with a run's numbers.

A finding's texts are looked up under its variant first, then under its code. A text that names a number the
finding does not carry is a bug, caught by the catalogue's tests, and raises KeyError. What stands between
texts is the language's, too: Chinese sentences need no space between them, a French colon has one before it.
"""

import functools
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

from nanogpt_cli.explain.case import Finding, Number
from nanogpt_cli.explain.numbers import NumberFormatter, with_fixed_spaces

DEFAULT_LANGUAGE = "en"


@dataclass(frozen=True)
class Catalogue:
    """All texts of one language."""

    language: str
    tables: Mapping[str, Any]

    @cached_property
    def _formatter(self) -> NumberFormatter:
        return NumberFormatter(self.language)

    def finding(self, finding: Finding, part: str, *, ours: bool = False) -> str:
        """`title`, `verdict`, `message` or `advice` of a finding; "" where there is none.

        For a run of this program (`ours`) a text `<part>_ours` goes before `<part>` of the same table.
        """
        table = self.tables["findings"][finding.code]
        tables = (table[finding.variant], table) if finding.variant else (table,)
        names = (f"{part}_ours", part) if ours else (part,)
        found = (t[name] for t in tables for name in names if name in t)
        return self._formatter.fill(next(found, ""), finding.numbers)

    def text(self, section: str, key: str, /, **numbers: Number) -> str:
        """A text of another section, with its numbers filled in."""
        return self._formatter.fill(self.tables[section][key], numbers)

    def sentences(self, texts: Iterable[str]) -> str:
        """Sentences that follow one another."""
        return self.text("words", "between_sentences").join(texts)

    def listed(self, names: Iterable[str]) -> str:
        """Names or numbers one after the other, none of them the last."""
        return self.text("words", "between_names").join(names)

    def labelled(self, label: str, text: str) -> str:
        """`What to do: nothing to repair.`"""
        return label + self.text("words", "colon") + text

    def duration(self, seconds: float) -> str:
        """`45 s`, `12 min 30 s`, `3 h 25 min`, `2 d 4 h`: the two largest units."""
        total = round(max(0.0, min(seconds, 1e12)))
        if total < 60:
            return self.text("units", "seconds", s=total)
        if total < 3600:
            return self.text("units", "minutes", min=total // 60, s=total % 60)
        if total < 86_400:
            return self.text("units", "hours", h=total // 3600, min=total % 3600 // 60)
        return self.text("units", "days", d=total // 86_400, h=total % 86_400 // 3600)


@functools.cache
def load_catalogue(language: str = DEFAULT_LANGUAGE) -> Catalogue:
    """The catalogue of `language`, one of the files in `messages/`."""
    spoken = language.rpartition("_")[2]  # settings_es is Spanish, too
    file = resources.files("nanogpt_cli.explain").joinpath("messages", f"{language}.toml")
    return Catalogue(spoken, _fixed(tomllib.loads(file.read_text(encoding="utf-8")), spoken))


def _fixed(value: Any, language: str) -> Any:
    """Every text of a table and of the tables in it, with its no-break spaces."""
    if isinstance(value, dict):
        return {key: _fixed(item, language) for key, item in value.items()}
    return with_fixed_spaces(value, language)

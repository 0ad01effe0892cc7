"""The words: one TOML file per language in `messages/`, read once and filled with a run's numbers.

A finding's texts are looked up under its variant first, then under its code. A text that names a number the
finding does not carry is a bug, caught by the catalogue's tests, and raises KeyError.
"""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from nanogpt_cli.explain.case import Finding, Number

DEFAULT_LANGUAGE = "en"


@dataclass(frozen=True)
class Catalogue:
    """All texts of one language."""

    language: str
    tables: Mapping[str, Any]

    def finding(self, finding: Finding, part: str, *, ours: bool = False) -> str:
        """`title`, `verdict`, `message` or `advice` of a finding; "" where there is none.

        For a run of this program (`ours`) a text `<part>_ours` goes before `<part>` of the same table.
        """
        table = self.tables["findings"][finding.code]
        tables = (table[finding.variant], table) if finding.variant else (table,)
        names = (f"{part}_ours", part) if ours else (part,)
        found = (t[name] for t in tables for name in names if name in t)
        text: str = next(found, "")
        return text.format_map(finding.numbers)

    def text(self, section: str, key: str, /, **numbers: Number) -> str:
        """A text of another section, with its numbers filled in."""
        template: str = self.tables[section][key]
        return template.format_map(numbers)


@functools.cache
def load_catalogue(language: str = DEFAULT_LANGUAGE) -> Catalogue:
    """The catalogue of `language`, one of the files in `messages/`."""
    file = resources.files("nanogpt_cli.explain").joinpath("messages", f"{language}.toml")
    return Catalogue(language, tomllib.loads(file.read_text(encoding="utf-8")))

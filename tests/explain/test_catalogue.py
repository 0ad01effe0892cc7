"""Every finding a rule can make has words, and the words name only numbers the finding carries."""

import ast
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

import nanogpt_cli.explain.rules as rules_package
from nanogpt_cli.explain.catalogue import load_catalogue
from nanogpt_cli.explain.crashes import CAUSES
from nanogpt_cli.explain.diagnose import RULES, SILENCES
from nanogpt_cli.explain.records import Log
from tests.explain.rule_logs import FIRES, MORE, NEAR_MISSES
from tests.explain.samples import explain_text

FINDINGS = load_catalogue().tables["findings"]
PARTS = ("title", "verdict", "message", "advice")
CODES = {rule.__name__ for rule in RULES} | {"healthy"}


def test_every_rule_has_its_words_and_every_text_its_rule() -> None:
    assert set(FINDINGS) == CODES


@pytest.mark.parametrize("code", sorted(CODES))
def test_title_message_and_advice(code: str) -> None:
    for part in ("title", "message", "advice"):
        assert FINDINGS[code][part].strip()


def test_a_rule_is_named_after_its_code() -> None:
    """So that a code leads to its rule; and no rule invents a code without words."""
    for file in sorted(Path(rules_package.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                assert node.value.value in CODES


def test_silences_name_codes() -> None:
    assert {key.split(".")[0] for key in SILENCES} <= CODES
    assert set().union(*SILENCES.values()) <= CODES


def test_known_causes_have_words() -> None:
    assert set(CAUSES) <= set(FINDINGS["crashed"])


def _texts() -> Iterator[tuple[str, dict[str, str]]]:
    for code, table in FINDINGS.items():
        yield code, table
        for name, variant in table.items():
            if isinstance(variant, dict):
                yield f"{code}.{name}", variant


def test_nothing_but_known_parts() -> None:
    allowed = {*PARTS, *(f"{part}_ours" for part in PARTS)}
    for name, table in _texts():
        strings = {key for key, value in table.items() if isinstance(value, str)}
        assert strings <= allowed, name


@pytest.mark.parametrize("text", [*FIRES.values(), *NEAR_MISSES.values(), *MORE.values()])
def test_every_text_fills(text: str | Log) -> None:
    """Filling raises KeyError where a text names a number its finding lacks."""
    explanation = explain_text(text)
    for finding in explanation.findings:
        assert finding.message
        assert finding.advice
        assert "{" not in finding.message + finding.advice
    assert explanation.summary


def test_the_logs_above_reach_every_wording() -> None:
    """Else a wrong placeholder in a rare wording would pass unseen."""
    from nanogpt_cli.explain.diagnose import diagnose
    from tests.explain.samples import parse_text

    reached = set()
    for text in [*FIRES.values(), *NEAR_MISSES.values(), *MORE.values()]:
        log = text if isinstance(text, Log) else parse_text(text)
        reached |= {finding.message_key for finding in diagnose(log, log.runs[-1])}
    crash_texts = {name for name, _ in _texts() if name.startswith("crashed.")}  # they have their own test
    missing = {name for name, _ in _texts()} - reached - crash_texts
    assert not missing - {"overfitting", "log_too_sparse"}  # always told with its strength, its reason


def test_crash_texts_use_only_the_two_numbers() -> None:
    for cause in ("", *CAUSES):
        table = FINDINGS["crashed"][cause] if cause else FINDINGS["crashed"]
        for part in PARTS:
            fields = {field for _, field, _, _ in string.Formatter().parse(table.get(part, "")) if field}
            assert fields <= {"exception", "message"}

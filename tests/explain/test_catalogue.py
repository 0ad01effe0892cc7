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
from tests.explain.samples import HEADER, eval_lines, explain_text, falling, iter_line, iter_lines, metrics
from tests.explain.test_rules import FIRES, FORGETTING, NEAR_MISSES

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
    assert set(SILENCES) <= CODES
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


def with_evaluations(mfu_usual: float | None, mfu_after: float | None) -> str:
    """Five evaluations, each followed by a slow line and a usual one."""
    pieces = []
    for i in range(0, 50, 10):
        pieces.append(f"step {i}: train loss 3.0, val loss 3.0")
        pieces += [iter_line(i, 3, 900, mfu_after), iter_line(i + 1, 3, 50, mfu_usual)]
    return "\n".join(pieces)


MORE = {
    "overfitting.strong": eval_lines(FORGETTING),
    "overfitting.moderate": eval_lines([(4.2, 4.2), (2.0, 2.1), (1.5, 1.6), (1.4, 1.66), (1.3, 1.7)]),
    "nonfinite.from_start": iter_lines([float("nan")] * 3),
    "nonfinite.recovered": iter_lines([4.0, float("nan"), 3.9, 3.8]),
    "bad_initial_loss.unknown_vocab": iter_lines([130.0, 120.0]),
    "out_of_memory": "RuntimeError: CUDA out of memory\n",
    "out_of_memory.batch": HEADER + "CUDA out of memory\n",
    "out_of_memory.sizes": "CUDA out of memory. Tried to allocate 2.00 GiB. a total capacity of 8.00 GiB\n",
    "interrupted": iter_lines([4.0, 3.0]) + "slurmstepd: error: *** JOB 1 CANCELLED AT 2024 ***\n",
    "interrupted.killed": iter_lines([4.0, 3.0]) + "Killed\n",
    "interrupted.ours": metrics(falling(4.2, 1.9, 15), end="SIGINT"),
    "overfitting.ours": metrics([4.2], end="finished") + eval_lines(FORGETTING),
    "nonfinite.ours": metrics(falling(4.2, 1.9, 15), end="nonfinite"),
    "finished.ours": metrics(falling(4.2, 1.9, 15), end="finished"),
    "truncated.between_evals": eval_lines([(4, 4), (3, 3), (2, 2)]) + iter_line(510, 2.0) + "\n",
    "loss_spike": iter_lines(falling(10.9, 3.6, 60) + [6.5] * 8),
    "resumed": HEADER + iter_lines([4.0, 3.0]) + "Resuming training from out\n" + iter_lines([3.0], start=10),
    "slow_first_iterations.with_eval": with_evaluations(5.0, 5.0).replace("900", "9000", 1),
    "eval_time_spike": "\n".join(with_evaluations(None, None).splitlines()[1:6]),
    "eval_time_spike.costly": with_evaluations(None, None),
    "eval_time_spike.mfu_costly": with_evaluations(10.0, 9.06),
    "mfu_reference_device.unknown_device": iter_lines([4.0]).replace("5.00%", "0.03%"),
    "still_improving.train_only": iter_lines(falling(4.2, 1.0, 40)[:25]),
}


@pytest.mark.parametrize("text", [*FIRES.values(), *NEAR_MISSES.values(), *MORE.values()])
def test_every_text_fills(text: str) -> None:
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
        log = parse_text(text)
        reached |= {finding.message_key for finding in diagnose(log, log.runs[-1])}
    crash_texts = {name for name, _ in _texts() if name.startswith("crashed.")}  # they have their own test
    missing = {name for name, _ in _texts()} - reached - crash_texts
    assert not missing - {"overfitting"}  # always told with its strength


def test_crash_texts_use_only_the_two_numbers() -> None:
    for cause in ("", *CAUSES):
        table = FINDINGS["crashed"][cause] if cause else FINDINGS["crashed"]
        for part in PARTS:
            fields = {field for _, field, _, _ in string.Formatter().parse(table.get(part, "")) if field}
            assert fields <= {"exception", "message"}

"""`explain_log`: a log in, an `Explanation` out: the findings in words, the summary, the explained lines.

`Explanation.to_json` is the documented, versioned document of `nanogpt explain-log --json`: losses in mean
nats per token, null where a number is unknown or not finite; where a log holds several runs the top level
speaks of the last one and `runs` of each, in the log's order.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nanogpt_cli.errors import UsageError
from nanogpt_cli.explain.case import Case, Number, Severity
from nanogpt_cli.explain.catalogue import DEFAULT_LANGUAGE, Catalogue, load_catalogue
from nanogpt_cli.explain.diagnose import diagnose
from nanogpt_cli.explain.lines import ExplainedLine, LineExplainer
from nanogpt_cli.explain.parse import parse_log
from nanogpt_cli.explain.records import Log, Run
from nanogpt_cli.explain.summary import summarize

SCHEMA_VERSION: Final = 1
# With one of these there is no run to speak of; a caller may want to treat them as errors.
NOT_EXPLAINABLE: Final = frozenset({"empty", "not_a_training_log", "unsupported_format"})


@dataclass(frozen=True, kw_only=True)
class ExplainedFinding:
    """A finding with its words."""

    code: str
    severity: Severity
    iters: tuple[int, ...]
    confidence: float
    numbers: Mapping[str, Number]
    title: str
    message: str
    advice: str

    def to_json(self) -> dict[str, object]:
        """The finding as `--json` shows it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "iters": list(self.iters),
            "confidence": self.confidence,
            "numbers": {name: _finite(value) for name, value in self.numbers.items()},
            "message": self.message,
            "advice": self.advice,
        }


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Everything explain-log has to say about one log."""

    source: str
    log: Log
    run: Run  # the last one, which the texts speak of
    language: str
    summary: str
    findings: tuple[ExplainedFinding, ...]
    lines: tuple[ExplainedLine, ...]

    @property
    def format(self) -> str:
        """nanogpt (its text lines), metrics (our metrics.jsonl), or unknown."""
        return self.log.format

    @property
    def codes(self) -> tuple[str, ...]:
        """The findings' codes, most important first."""
        return tuple(finding.code for finding in self.findings)

    def to_json(self) -> dict[str, object]:
        """The document of `--json`."""
        numbers = _run_numbers(self.run)
        top = ("n_iter_lines", "n_eval_lines", "first_loss", "last_loss", "best_val_loss", "best_val_iter")
        return {
            "schema_version": SCHEMA_VERSION,
            "format": self.format,
            **{name: numbers[name] for name in top},
            "findings": [finding.to_json() for finding in self.findings],
            "runs": [_run_numbers(run) for run in self.log.runs if run.has_points or run.header_seen],
        }


def explain_log(
    source: str | Path,
    *,
    lines: tuple[int, int] | None = None,
    language: str = DEFAULT_LANGUAGE,
) -> Explanation:
    """Read and explain a log file, a run directory or standard input ("-").

    `lines` is an iteration range whose lines are explained instead of one example of each kind.
    """
    return explain(parse_log(source), lines=lines, language=language)


def explain(
    log: Log, *, lines: tuple[int, int] | None = None, language: str = DEFAULT_LANGUAGE
) -> Explanation:
    """Explain a log that was read already."""
    catalogue = load_catalogue(language)
    run = log.runs[-1]
    case = Case(log=log, run=run)
    findings = diagnose(log, run)
    ours = not run.nanogpt_habits
    return Explanation(
        source=log.source,
        log=log,
        run=run,
        language=language,
        summary=summarize(case, findings, catalogue),
        findings=tuple(
            ExplainedFinding(
                code=finding.code,
                severity=finding.severity,
                iters=finding.iters,
                confidence=finding.confidence,
                numbers=finding.numbers,
                title=catalogue.finding(finding, "title", ours=ours),
                message=catalogue.finding(finding, "message", ours=ours),
                advice=catalogue.finding(finding, "advice", ours=ours),
            )
            for finding in findings
        ),
        lines=_lines(case, catalogue, lines),
    )


def _lines(case: Case, catalogue: Catalogue, wanted: tuple[int, int] | None) -> tuple[ExplainedLine, ...]:
    explainer = LineExplainer(case, catalogue)
    if wanted is None:
        return explainer.examples()
    chosen = explainer.chosen(*wanted)
    if not chosen and case.run.has_points:
        first, last = case.run.first_iter, case.run.last_iter
        raise UsageError(
            f"the log has no line between iterations {wanted[0]} and {wanted[1]}",
            f"it shows iterations {first} to {last}: --lines {first}-{last}",
        )
    return chosen


def _run_numbers(run: Run) -> dict[str, object]:
    best = run.best_eval
    losses = [p.loss for p in run.iters if p.loss is not None]
    losses = losses or [e.train_loss for e in run.evals if e.train_loss is not None]
    return {
        "n_iter_lines": run.n_iter_lines,
        "n_eval_lines": run.n_eval_lines,
        "first_iter": run.first_iter,
        "last_iter": run.last_iter,
        "first_loss": _finite(losses[0]) if losses else None,
        "last_loss": _finite(losses[-1]) if losses else None,
        "best_val_loss": best.val_loss if best else None,
        "best_val_iter": best.iter_num if best else None,
        "resumed_at": list(run.resumed_at),
    }


def _finite(value: Number) -> Number | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value

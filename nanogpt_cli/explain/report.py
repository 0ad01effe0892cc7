"""`explain_log`: a log in, an `Explanation` out: the findings in words, the summary, the explained lines.

`Explanation.to_json` is the document of `nanogpt explain-log --json`, described in `document`. Words that may
hold pieces of a log pass `visible`, so that no log can steer a terminal.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nanogpt_cli.accelerators import Accelerator
from nanogpt_cli.errors import UsageError
from nanogpt_cli.explain.case import Case, Finding, Number, Severity
from nanogpt_cli.explain.catalogue import DEFAULT_LANGUAGE, load_catalogue
from nanogpt_cli.explain.diagnose import diagnose
from nanogpt_cli.explain.document import explanation_document
from nanogpt_cli.explain.lines.explainer import LineExplainer
from nanogpt_cli.explain.lines.words import ExplainedLine
from nanogpt_cli.explain.parse import parse_log
from nanogpt_cli.explain.records import Log, Run
from nanogpt_cli.explain.summary import summarize

# With one of these there is no run to speak of; a caller may want to treat them as errors.
NOT_EXPLAINABLE: Final = frozenset({"empty", "not_a_training_log"})

# C0 and C1 controls, lone surrogates (JSON can spell them, UTF-8 cannot), and what turns text around.
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]")


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
        """metrics (our metrics.jsonl), the trainer that wrote the log, or unknown."""
        return self.log.format

    @property
    def codes(self) -> tuple[str, ...]:
        """The findings' codes, most important first."""
        return tuple(finding.code for finding in self.findings)

    def to_json(self) -> dict[str, object]:
        """The document of `--json`."""
        return explanation_document(self)


def explain_log(
    source: str | Path,
    *,
    lines: tuple[int, int] | None = None,
    every: int = 1,
    device: Accelerator | None = None,
    device_peak: float | None = None,
    language: str = DEFAULT_LANGUAGE,
) -> Explanation:
    """Read and explain a log file, a run directory or standard input ("-").

    `lines` is an iteration range whose lines are explained instead of one example of each kind, `every` takes
    of them the iterations it divides. MFU is also given for `device`, or for a peak of `device_peak` FLOP/s.
    """
    return explain(
        parse_log(source), lines=lines, every=every, device=device, device_peak=device_peak, language=language
    )


def explain(
    log: Log,
    *,
    lines: tuple[int, int] | None = None,
    every: int = 1,
    device: Accelerator | None = None,
    device_peak: float | None = None,
    language: str = DEFAULT_LANGUAGE,
    keep: Callable[[Finding], bool] | None = None,
) -> Explanation:
    """Explain a log that was read already; where `keep` is given, only with the findings it accepts."""
    catalogue = load_catalogue(language)
    run = log.runs[-1]
    case = Case(log=log, run=run)
    findings = tuple(finding for finding in diagnose(log, run) if keep is None or keep(finding))
    ours = case.ours
    explainer = LineExplainer(case, catalogue, device=device, device_peak=device_peak)
    return Explanation(
        source=log.source,
        log=log,
        run=run,
        language=language,
        summary=visible(summarize(case, findings, catalogue)),
        findings=tuple(
            ExplainedFinding(
                code=finding.code,
                severity=finding.severity,
                iters=finding.iters,
                confidence=finding.confidence,
                numbers=finding.numbers,
                title=visible(catalogue.finding(finding, "title", ours=ours)),
                message=visible(catalogue.finding(finding, "message", ours=ours)),
                advice=visible(catalogue.finding(finding, "advice", ours=ours)),
            )
            for finding in findings
        ),
        lines=tuple(_visible_line(line) for line in _lines(explainer, lines, every)),
    )


def visible(text: str) -> str:
    """Text without characters that move a cursor, turn the writing round or have no encoding."""
    return _INVISIBLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _visible_line(line: ExplainedLine) -> ExplainedLine:
    parts = tuple((visible(label), visible(text)) for label, text in line.parts)
    return ExplainedLine(visible(line.text), parts)


def _lines(explainer: LineExplainer, wanted: tuple[int, int] | None, every: int) -> tuple[ExplainedLine, ...]:
    first, last = explainer.run.first_iter, explainer.run.last_iter
    if wanted is None and every == 1:
        return explainer.examples()
    if first is None or last is None:
        return ()
    start, end = wanted or (first, last)
    chosen = explainer.chosen(start, end, every)
    if not chosen:
        raise UsageError(
            f"the log has no line between iterations {start} and {end}"
            + (f" that {every} divides" if every > 1 else ""),
            f"it shows iterations {first} to {last}: --lines {first}-{last}",
        )
    return chosen

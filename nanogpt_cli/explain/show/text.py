"""An explanation as plain text of a given width: for pipes, files and dumb terminals."""

import textwrap
from collections.abc import Iterator

from nanogpt_cli.explain.catalogue import load_catalogue
from nanogpt_cli.explain.report import ExplainedFinding, Explanation

LIKELY_BELOW = 0.7  # a finding less certain than this is introduced with "probably"


def plain_text(explanation: Explanation, width: int) -> str:
    """The whole explanation, wrapped to `width` columns."""
    return "\n".join(_lines(explanation, width)) + "\n"


def heading(finding: ExplainedFinding, language: str) -> str:
    """`warning: Strong overfitting (iterations 2000, 5000)`."""
    words = load_catalogue(language)
    certainty = f" ({words.text('words', 'likely')})" if finding.confidence < LIKELY_BELOW else ""
    return f"{words.text('words', finding.severity)}: {finding.title}{certainty}"


def _lines(explanation: Explanation, width: int) -> Iterator[str]:
    words = load_catalogue(explanation.language)
    yield words.text("words", "summary")
    yield from _wrap(explanation.summary, width, "  ")
    if explanation.findings:
        yield from ("", words.text("words", "findings"))
    for number, finding in enumerate(explanation.findings):
        if number:
            yield ""
        yield from _wrap(heading(finding, explanation.language), width, "  ")
        yield from _wrap(finding.message, width, "    ")
        yield from _wrap(f"{words.text('words', 'advice')}: {finding.advice}", width, "    ")
    if explanation.lines:
        yield from ("", words.text("words", "lines"))
    for line in explanation.lines:
        yield f"  {line.text}"
        for label, text in line.parts:
            yield from _wrap(f"{label}: {text}", width, "    ", hanging="      ")


def _wrap(text: str, width: int, indent: str, hanging: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, 30),
        initial_indent=indent,
        subsequent_indent=hanging or indent,
        break_on_hyphens=False,
    )

"""An explanation as plain text of a given width: for pipes, files and dumb terminals."""

import textwrap
from collections.abc import Iterator, Sequence

from nanogpt_cli.explain.catalogue import Catalogue, load_catalogue
from nanogpt_cli.explain.report import ExplainedFinding, Explanation, visible

LIKELY_BELOW = 0.7  # a finding less certain than this is introduced with "probably"


def plain_text(
    explanation: Explanation, width: int, *, plot: Sequence[str] = (), unread: bool = False
) -> str:
    """The whole explanation, wrapped to `width` columns; `plot` stands below the summary as it is."""
    return "\n".join(_lines(explanation, width, plot, unread)) + "\n"


def heading(finding: ExplainedFinding, words: Catalogue) -> str:
    """`warning: Strong overfitting`."""
    return f"{words.text('words', finding.severity)}: {finding.title}{certainty(finding, words)}"


def certainty(finding: ExplainedFinding, words: Catalogue) -> str:
    """` (probably)` after the title of what is less than sure."""
    return f" ({words.text('words', 'likely')})" if finding.confidence < LIKELY_BELOW else ""


def unread_lines(explanation: Explanation) -> tuple[str, list[str]]:
    """A sentence on the lines that told nothing, and the first of them with their numbers."""
    words, log = load_catalogue(explanation.language), explanation.log
    title = words.text("page", "unread", n_unread=log.n_unread_lines, n_shown=len(log.unread))
    return title, [f"{number:>6}  {visible(text)}" for number, text in log.unread]


def _lines(explanation: Explanation, width: int, plot: Sequence[str], unread: bool) -> Iterator[str]:
    words = load_catalogue(explanation.language)
    yield words.text("words", "summary")
    yield from _wrap(explanation.summary, width, "  ")
    if plot:
        yield from ("", *plot)
    if explanation.findings:
        yield from ("", words.text("words", "findings"))
    for number, finding in enumerate(explanation.findings):
        if number:
            yield ""
        yield from _wrap(heading(finding, words), width, "  ")
        yield from _wrap(finding.message, width, "    ")
        yield from _wrap(f"{words.text('words', 'advice')}: {finding.advice}", width, "    ")
    if explanation.lines:
        yield from ("", words.text("words", "lines"))
    for line in explanation.lines:
        yield f"  {line.text}"
        for label, text in line.parts:
            yield from _wrap(f"{label}: {text}", width, "    ", hanging="      ")
    if unread:
        title, lines = unread_lines(explanation)
        yield from ("", title, *(f"  {line[: width - 2]}" for line in lines))


def _wrap(text: str, width: int, indent: str, hanging: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, 30),
        initial_indent=indent,
        subsequent_indent=hanging or indent,
        break_on_hyphens=False,
    )

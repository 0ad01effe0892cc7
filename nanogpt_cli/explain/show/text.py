"""An explanation as plain text of a given width: for pipes, files and dumb terminals."""

from collections.abc import Iterator, Sequence

from nanogpt_cli.explain.catalogue import Catalogue, load_catalogue
from nanogpt_cli.explain.report import ExplainedFinding, Explanation, visible
from nanogpt_cli.explain.show.wrap import wrap

LIKELY_BELOW = 0.7  # a finding less certain than this is introduced with "probably"


def plain_text(
    explanation: Explanation, width: int, *, plot: Sequence[str] = (), unread: bool = False
) -> str:
    """The whole explanation, wrapped to `width` columns; `plot` stands below the summary as it is."""
    return "\n".join(_lines(explanation, width, plot, unread)) + "\n"


def heading(finding: ExplainedFinding, words: Catalogue) -> str:
    """`warning: Strong overfitting`."""
    title = finding.title + certainty(finding, words)
    return words.labelled(words.text("words", finding.severity), title)


def certainty(finding: ExplainedFinding, words: Catalogue) -> str:
    """` (probably)` after the title of what is less than sure."""
    return words.text("words", "likely") if finding.confidence < LIKELY_BELOW else ""


def what_was_read(explanation: Explanation) -> str:
    """The format, the lines of the log, and how many of them told nothing."""
    words, log = load_catalogue(explanation.language), explanation.log
    n_lines, n_unread = log.n_lines, log.n_unread_lines
    format_name = format_in_words(explanation, words)
    return words.text("page", "read", format=format_name, n_lines=n_lines, n_unread=n_unread)


def format_in_words(explanation: Explanation, words: Catalogue) -> str:
    """The name of the log's format; a word only where it has no name."""
    return words.text("page", "no_format") if explanation.format == "unknown" else explanation.format


def unread_lines(explanation: Explanation) -> tuple[str, list[str]]:
    """A sentence on the lines that told nothing, and the first of them with their numbers."""
    words, log = load_catalogue(explanation.language), explanation.log
    title = words.text("page", "unread", n_unread=log.n_unread_lines, n_shown=len(log.unread))
    return title, [f"{number:>6}  {visible(text)}" for number, text in log.unread]


def _lines(explanation: Explanation, width: int, plot: Sequence[str], unread: bool) -> Iterator[str]:
    words = load_catalogue(explanation.language)
    yield words.text("words", "summary")
    yield from wrap(explanation.summary, width, "  ")
    yield from wrap(what_was_read(explanation), width, "  ")
    if plot:
        yield from ("", *plot)
    if explanation.findings:
        yield from ("", words.text("words", "findings"))
    for number, finding in enumerate(explanation.findings):
        if number:
            yield ""
        yield from wrap(heading(finding, words), width, "  ")
        yield from wrap(finding.message, width, "    ")
        yield from wrap(words.labelled(words.text("words", "advice"), finding.advice), width, "    ")
    if explanation.lines:
        yield from ("", words.text("words", "lines"))
    for line in explanation.lines:
        yield f"  {line.text}"
        for label, text in line.parts:
            yield from wrap(words.labelled(label, text), width, "    ", hanging="      ")
    if unread:
        title, lines = unread_lines(explanation)
        yield from ("", title, *(f"  {line[: width - 2]}" for line in lines))

"""An explanation as Markdown (CommonMark), for issues, forums and notebooks.

Words that came from a log are escaped, log lines stand in code spans or blocks: a log cannot bring links,
images or HTML into the document it is pasted in.
"""

import re
from collections.abc import Iterator, Sequence

from nanogpt_cli.explain.catalogue import load_catalogue
from nanogpt_cli.explain.report import Explanation
from nanogpt_cli.explain.show.text import heading, unread_lines, what_was_read

# CommonMark's ASCII punctuation that can begin anything; letters and digits never do.
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~!&])")
_SPACES = re.compile(r"[ \t\r\n]+")  # not the no-break spaces of French
# At the start of a line also these make a list or a heading's underline: `- `, `+ `, `1. `.
_LEADING = re.compile(r"^(\d*)([-+=.)])(?=\s|[-=]|$)")


def markdown(explanation: Explanation, *, plot: Sequence[str] = (), unread: bool = False) -> str:
    """The whole explanation as one document."""
    return "\n\n".join(_blocks(explanation, plot, unread)) + "\n"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _LEADING.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", _SPACES.sub(" ", text).strip()))


def code_span(text: str) -> str:
    """Text as inline code, whatever backticks it holds."""
    text = _SPACES.sub(" ", text).strip()
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else ""


def code_block(lines: Sequence[str]) -> str:
    """Lines as they are."""
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}text", *lines, fence])


def _blocks(explanation: Explanation, plot: Sequence[str], unread: bool) -> Iterator[str]:
    words = load_catalogue(explanation.language)
    yield f"## {words.text('words', 'summary')}"
    yield escaped(explanation.summary)
    yield escaped(what_was_read(explanation))
    if plot:
        yield code_block(plot)
    if explanation.findings:
        yield f"## {words.text('words', 'findings')}"
    for number, finding in enumerate(explanation.findings, 1):
        yield f"### {number}. {escaped(heading(finding, words))}"
        yield escaped(finding.message)
        yield words.labelled(f"**{escaped(words.text('words', 'advice'))}**", escaped(finding.advice))
    if explanation.lines:
        yield f"## {words.text('words', 'lines')}"
    for line in explanation.lines:
        yield code_span(line.text)
        yield "\n".join(
            "- " + words.labelled(f"**{escaped(label)}**", escaped(text)) for label, text in line.parts
        )
    if unread:
        title, lines = unread_lines(explanation)
        yield f"## {escaped(title)}"
        if lines:
            yield code_block(lines)

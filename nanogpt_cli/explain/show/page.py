"""An explanation as one HTML page: facts, summary, findings, curves, explained lines.

The page needs nothing but itself: no network, no script, no font. It follows the reader's light or dark
scheme, fits a telephone, and prints.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from nanogpt_cli import __version__
from nanogpt_cli.explain.catalogue import Catalogue, load_catalogue
from nanogpt_cli.explain.report import Explanation, visible
from nanogpt_cli.explain.show.figures import chart_figure
from nanogpt_cli.explain.show.html import element, page
from nanogpt_cli.explain.show.series import charts
from nanogpt_cli.explain.show.text import certainty, what_was_read

_MAX_LINE_CHARS: Final = 500  # of a log line on the page; the rest of a longer one is no training line


def html_page(explanation: Explanation) -> str:
    """The whole document."""
    words = load_catalogue(explanation.language)
    title = words.text("page", "title", name=source_name(explanation.source, words))
    sections = (
        _header(explanation, words, title),
        _section(words, "summary", element("p", explanation.summary, class_="lead")),
        _section(words, "findings", *_findings(explanation, words)),
        _curves(explanation, words),
        _section(words, "lines", *_lines(explanation)),
        _unread(explanation, words),
        element("footer", words.text("page", "made_by", version=__version__)),
    )
    return page(title, explanation.language, element("main", *sections))


def source_name(source: str, words: Catalogue) -> str:
    """What a log is called on the page: the run's folder, or the file."""
    if source == "-":
        return words.text("page", "stdin")
    path = Path(source)
    return visible(
        path.parent.name if path.name in {"metrics.jsonl", "train.log"} and path.parent.name else path.name
    )


def _header(explanation: Explanation, words: Catalogue, title: str) -> Element:
    facts = [
        element("div", element("dt", name), element("dd", value))
        for name, value in _facts(explanation, words)
    ]
    return element(
        "header",
        element("h1", title),
        element("p", element("code", visible(explanation.source)), class_="soft"),
        element("p", what_was_read(explanation), class_="soft"),
        element("dl", *facts, class_="facts") if facts else None,
    )


def _facts(explanation: Explanation, words: Catalogue) -> Iterator[tuple[str, str]]:
    run = explanation.run

    def fact(key: str, **numbers: int | float | str) -> tuple[str, str]:
        return words.text("page", f"fact_{key}"), words.text("page", f"value_{key}", **numbers)

    if run.n_params:
        yield fact("params", params=run.n_params)
    if run.last_iter is not None:
        yield fact("last_iter", iter=run.last_iter)
    if (best := run.best_eval) is not None:
        yield fact(f"best_{run.val_unit}", val=best.val_loss)
        yield fact("best_iter", iter=best.iter_num)
        last = run.evals[-1]
        if last.iter_num != best.iter_num and math.isfinite(last.val_loss):
            yield fact(f"last_{run.val_unit}", val=last.val_loss)
        if last.train_loss is not None and math.isfinite(last.train_loss):
            yield fact("train", loss=last.train_loss)
    if run.tokens_per_iter:
        yield fact("tokens", tokens=run.tokens_per_iter)
    if run.vocab_size:
        yield fact("vocab", vocab=run.vocab_size)


def _section(words: Catalogue, key: str, *children: Element | None) -> Element | None:
    shown = [child for child in children if child is not None]
    if not shown:
        return None
    heading = element("h2", words.text("words", key), id=f"h-{key}")
    return element("section", heading, *shown, aria_labelledby=f"h-{key}")


def _findings(explanation: Explanation, words: Catalogue) -> Iterator[Element]:
    for number, finding in enumerate(explanation.findings, 1):
        severity = words.text("words", finding.severity)
        heading = element(
            "h3",
            element("span", str(number), class_="number"),
            element("span", severity),
            words.labelled("", finding.title + certainty(finding, words)),
        )
        yield element(
            "article",
            heading,
            element("p", finding.message),
            element(
                "p", element("strong", words.labelled(words.text("words", "advice"), "")), finding.advice
            ),
            class_=f"card finding {finding.severity}",
            id=f"finding-{number}",
        )


def _curves(explanation: Explanation, words: Catalogue) -> Element:
    titles = {number: finding.title for number, finding in enumerate(explanation.findings, 1)}
    figures = [chart_figure(chart, words, titles) for chart in charts(explanation)]
    heading = element("h2", words.text("page", "curves"), id="h-curves")
    nothing = None if figures else element("p", words.text("plot", "nothing"))
    return element("section", heading, *figures, nothing, aria_labelledby="h-curves")


def _lines(explanation: Explanation) -> Iterator[Element]:
    for line in explanation.lines:
        pairs = [
            element(tag, text) for part in line.parts for tag, text in zip(("dt", "dd"), part, strict=True)
        ]
        heading = element("h3", element("code", line.text[:_MAX_LINE_CHARS]))
        yield element("article", heading, element("dl", *pairs, class_="parts"), class_="card")


def _unread(explanation: Explanation, words: Catalogue) -> Element | None:
    if not explanation.log.unread:
        return None
    items = [
        element("li", element("code", visible(text)[:_MAX_LINE_CHARS]), value=str(number))
        for number, text in explanation.log.unread
    ]
    title = words.text("page", "unread", n_unread=explanation.log.n_unread_lines, n_shown=len(items))
    return element("details", element("summary", title), element("ol", *items), class_="card")

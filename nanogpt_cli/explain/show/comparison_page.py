"""A comparison as one HTML page: tables, who is better, the curves over one another, each run's findings."""

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from nanogpt_cli import __version__
from nanogpt_cli.explain.catalogue import Catalogue, load_catalogue
from nanogpt_cli.explain.compare import Comparison
from nanogpt_cli.explain.report import visible
from nanogpt_cli.explain.show.comparison import (
    Row,
    cautions,
    difference_rows,
    fact_rows,
    group_charts,
    heading,
    sentences,
    standing_rows,
)
from nanogpt_cli.explain.show.figures import chart_figure
from nanogpt_cli.explain.show.html import element, page
from nanogpt_cli.explain.show.text import heading as heading_of


def comparison_page(comparison: Comparison) -> str:
    """The whole document."""
    words = load_catalogue(comparison.language)
    names = [entry.name for entry in comparison.entries]
    title = words.text("compare", "title", n_runs=len(names))
    differences = difference_rows(comparison)
    body = element(
        "main",
        element("header", element("h1", title), _sources(comparison, words)),
        element(
            "section", element("h2", words.text("compare", "facts")), _table(names, fact_rows(comparison))
        ),
        element("section", element("h2", words.text("compare", "differences")), _table(names, differences))
        if differences
        else None,
        *(element("p", caution, class_="card finding warning") for caution in cautions(comparison)),
        *_groups(comparison, names, words),
        *_runs(comparison, words),
        element("footer", words.text("page", "made_by", version=__version__)),
    )
    return page(title, comparison.language, body)


def _sources(comparison: Comparison, words: Catalogue) -> Element:
    items = [
        element("li", words.labelled(entry.name, ""), element("code", visible(entry.explanation.source)))
        for entry in comparison.entries
    ]
    return element("ul", *items, class_="soft")


def _groups(comparison: Comparison, names: Sequence[str], words: Catalogue) -> Iterator[Element]:
    for number, group in enumerate(comparison.groups):
        members = [names[i] for i in group.members]
        figures = [
            chart_figure(chart, words, {}, labels, prefix=f"group{number}-")
            for chart, labels in group_charts(comparison, group)
        ]
        yield element(
            "section",
            element("h2", heading(comparison, group)),
            element("ul", *(element("li", sentence) for sentence in sentences(comparison, group))),
            _table(members, standing_rows(comparison, group)),
            *figures,
        )


def _runs(comparison: Comparison, words: Catalogue) -> Iterator[Element]:
    for entry in comparison.entries:
        findings = [
            element(
                "li",
                words.sentences(
                    [words.text("words", "title", title=heading_of(finding, words)), finding.message]
                ),
            )
            for finding in entry.explanation.findings
        ]
        yield element(
            "section",
            element("h2", entry.name),
            element("p", entry.explanation.summary),
            element("ul", *findings) if findings else None,
        )


def _table(names: Sequence[str], rows: Sequence[Row]) -> Element:
    head = element("tr", element("td"), *(element("th", name, scope="col") for name in names))
    body = []
    for row in rows:
        cells = [
            element("td", f"★\u00a0{cell}", class_="winner") if i == row.best else element("td", cell)
            for i, cell in enumerate(row.cells)
        ]
        body.append(element("tr", element("th", row.label, scope="row"), *cells))
    table = element("table", element("thead", head), element("tbody", *body))
    return element("div", table, class_="scroll")

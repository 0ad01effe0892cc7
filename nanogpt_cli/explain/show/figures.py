"""A chart on the page: the drawing in two sizes, its legend, and its numbers as a table.

The wide drawing is for screens and paper, the narrow one for telephones; the style sheet shows one of them.
A sentence describes the drawing for who cannot see it, and the table holds its numbers.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final
from xml.etree.ElementTree import Element

from nanogpt_cli.explain.catalogue import Catalogue
from nanogpt_cli.explain.show.axis import tick_text
from nanogpt_cli.explain.show.html import element
from nanogpt_cli.explain.show.series import Chart, Curve, Mark
from nanogpt_cli.explain.show.svg import ROLES, SIZES, chart_svg

_TABLE_ROWS: Final = 40
_SHAPES: Final = ("circle", "square", "diamond", "triangle")


def chart_figure(
    chart: Chart, words: Catalogue, titles: Mapping[int, str], names: Sequence[str] = (), prefix: str = ""
) -> Element:
    """<figure>; `titles` are the findings' by number, `names` the curves', if they are runs."""
    labels = list(names) or [words.text("plot", f"curve_{curve.name}") for curve in chart.curves]
    caption_id = f"{prefix}chart-{chart.name}"
    drawings = []
    for size in SIZES:
        drawing = chart_svg(chart, words, size, f"{prefix}{chart.name}-{size}")
        drawing.set("class", size)
        drawing.set("role", "img")
        drawing.set("aria-label", _description(chart, words, labels))
        drawings.append(drawing)
    return element(
        "figure",
        element("figcaption", words.text("plot", f"chart_{chart.name}"), id=caption_id),
        *drawings,
        _legend(chart, words, labels, titles),
        element(
            "details",
            element("summary", words.text("page", "table")),
            element("div", _table(chart, words, labels), class_="scroll"),
        ),
        role="group",
        aria_labelledby=caption_id,
    )


def _description(chart: Chart, words: Catalogue, labels: Sequence[str]) -> str:
    sentences = [words.text("page", "drawing", title=words.text("plot", f"chart_{chart.name}"))]
    for curve, label in zip(chart.curves, labels, strict=True):
        finite = [(x, y) for x, y in curve.points if math.isfinite(y)]
        if finite:
            (first_x, first), (last_x, last) = finite[0], finite[-1]
            sentences.append(
                words.text(
                    "page",
                    "curve_described",
                    name=label,
                    first=_number(words, first),
                    first_x=first_x,
                    last=_number(words, last),
                    last_x=last_x,
                    low=_number(words, min(y for _, y in finite)),
                    high=_number(words, max(y for _, y in finite)),
                )
            )
    return words.sentences(sentences)


def _legend(chart: Chart, words: Catalogue, labels: Sequence[str], titles: Mapping[int, str]) -> Element:
    entries = [element("li", _key(curve), label) for curve, label in zip(chart.curves, labels, strict=True)]
    for number in sorted({mark.number for mark in chart.marks}):
        entries.append(_mark_entry([mark for mark in chart.marks if mark.number == number], words, titles))
    if chart.top < max(chart.values):
        entries.append(element("li", words.text("plot", "clipped", high=max(chart.values))))
    if chart.log_scale:
        entries.append(element("li", words.text("plot", "log_scale")))
    if any(curve.noisy and len(curve.points) > 100 for curve in chart.curves):
        entries.append(element("li", words.text("page", "trend")))
    return element("ul", *entries, class_="legend")


def _mark_entry(marks: Sequence[Mark], words: Catalogue, titles: Mapping[int, str]) -> Element:
    number, best = marks[0].number, marks[0].y
    if best is not None:
        ring = element(
            "circle", cx="14", cy="7", r="5.5", fill="none", stroke_width="2", class_="stroke-best"
        )
        text = words.text("plot", "best", val=best, iter=int(marks[0].x))
        return element("li", _key_svg(ring), text)
    iters = words.listed(words.text("plot", "tick_0", x=mark.x) for mark in marks)
    text = words.text("plot", "mark", n=number, title=titles[number], iters=iters)
    dashes = element("path", d="M14 0V14", stroke_width="2", stroke_dasharray="3 2", class_="stroke-flag")
    return element("li", _key_svg(dashes), element("a", text, href=f"#finding-{number}"))


def _key(curve: Curve) -> Element:
    """The curve's line, with its marker, as in the drawing."""
    ink = curve.role % ROLES + 1
    line = element("path", d="M0 7H28", stroke_width="3", class_=f"stroke-ink{ink}")
    if dashes := ("", "6 4", "2 4")[curve.role // ROLES % 3]:
        line.set("stroke-dasharray", dashes)
    if not curve.dotted:
        return _key_svg(line)
    shapes = {
        0: element("circle", cx="14", cy="7", r="3.5"),
        1: element("path", d="M10.5 3.5h7v7h-7z"),
        2: element("path", d="M14 2.5l4.5 4.5-4.5 4.5-4.5-4.5z"),
        3: element("path", d="M14 2.5l4.5 8h-9z"),
    }
    shape = shapes[curve.role % len(_SHAPES)]
    shape.set("class", f"fill-ink{ink}")
    return _key_svg(line, shape)


def _key_svg(*shapes: Element) -> Element:
    return element("svg", *shapes, viewBox="0 0 28 14", aria_hidden="true")


def _table(chart: Chart, words: Catalogue, labels: Sequence[str]) -> Element:
    columns = [dict(curve.points) for curve in chart.curves]
    dotted = [dict(curve.points) for curve in chart.curves if curve.dotted]
    xs = sorted(set().union(*(dotted or columns)))
    if len(xs) > _TABLE_ROWS:
        xs = [xs[round(i * (len(xs) - 1) / (_TABLE_ROWS - 1))] for i in range(_TABLE_ROWS)]
    head = [element("th", text, scope="col") for text in (words.text("page", f"x_{chart.axis}"), *labels)]
    rows = []
    for x in xs:
        cells = [element("td", _number(words, column[x]) if x in column else "") for column in columns]
        rows.append(element("tr", element("th", words.text("plot", "tick_0", x=x), scope="row"), *cells))
    return element("table", element("thead", element("tr", *head)), element("tbody", *rows))


def _number(words: Catalogue, value: float) -> str:
    if not math.isfinite(value):
        return "NaN"
    step = 1e-4 if abs(value) < 100 else 1e-2
    return tick_text(words, value, step) if 1e-3 <= abs(value) < 1e4 else tick_text(words, value, abs(value))

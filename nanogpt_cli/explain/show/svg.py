"""A chart as an SVG element for the page, drawn by matplotlib.

matplotlib draws curves, axes and numbers; words stay outside, in HTML, where they wrap, are translated and
need no font of matplotlib's. Its output is then made fit for a page with a strict policy and two colour
schemes: style attributes become presentation attributes, placeholder colours become classes that the page's
style sheet fills, ids are made unique among the charts of a page.
"""

import io
import logging
import re
from collections.abc import Callable
from typing import Any, Final
from xml.etree import ElementTree

from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.explain.catalogue import Catalogue
from nanogpt_cli.explain.show.axis import tick_text
from nanogpt_cli.explain.show.series import Chart, Curve
from nanogpt_cli.explain.show.thin import Point, medians, thin

# Stand for classes: `ink0` … are the curves' by role, the others are named after what they colour.
ROLES: Final = 8
_PLACEHOLDERS: Final = {
    **{f"#0000{role:02x}": f"ink{role}" for role in range(1, ROLES + 1)},
    "#000100": "axis",
    "#000200": "grid",
    "#000300": "flag",
    "#000400": "best",
    "#000500": "label",
}
_AXIS, _GRID, _FLAG, _BEST, _LABEL = list(_PLACEHOLDERS)[-5:]
# (width, height) in inches of 72 units: for a column of text, and for a telephone held upright.
SIZES: Final = {"wide": (9.6, 3.5), "narrow": (4.6, 3.4)}
_COLUMNS: Final = {"wide": 480, "narrow": 240}  # thinned to this; finer is not seen
_FONT_UNITS: Final = 11.5
_LETTER_UNITS: Final = 6.6  # the width of a digit in that size
_MARKERS: Final = "osD^vPX*"  # by role, so that no curve is known by its colour alone
INSTALL: Final = "pip install matplotlib"
DASHES: Final = ("-", "--", ":")  # from the ninth curve on the colours come again
_MAX_MARKERS: Final = 60  # more would cover the line
_NAMESPACE = re.compile(r"\{[^}]*\}")
_LONG_DECIMALS = re.compile(r"(\d+\.\d)\d+")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def chart_svg(chart: Chart, words: Catalogue, size: str, prefix: str) -> ElementTree.Element:
    """An <svg> element without words; `prefix` makes its ids unique."""
    return _for_page(_draw(chart, words, size), prefix)


def _draw(chart: Chart, words: Catalogue, size: str) -> bytes:
    # Its remarks on caches and fonts are not for our user.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:  # an installation without its dependencies, or a broken one
        raise NanoGPTError(f"matplotlib, which draws the curves, is missing: {error}", INSTALL) from error

    # "none" keeps text as text; the salt makes ids, and with them the page, the same every time.
    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": chart.name,
        "font.size": _FONT_UNITS,
        "path.simplify": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=SIZES[size], dpi=72)
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        _axes(axes, chart, words, narrow=size == "narrow")
        for curve in chart.curves:
            _curve(axes, curve, _COLUMNS[size])
        _marks(axes, chart)
        _place(axes, *SIZES[size])
        output = io.BytesIO()
        figure.savefig(output, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator")))
    return output.getvalue()


def _axes(axes: Any, chart: Chart, words: Catalogue, *, narrow: bool) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    if chart.log_scale:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=9))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        low, high = min(chart.values), chart.top
        margin = 0.06 * (high - low) or 0.5
        axes.set_ylim(low - margin, high + (margin if high >= max(chart.values) else 0))
    axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 8, steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(_formatter(words, axes.get_xticks))
    axes.yaxis.set_major_formatter(_formatter(words, axes.get_yticks, own_steps=chart.log_scale))
    # Also where the losses are no numbers: an empty end of the picture says it.
    first = min(curve.points[0][0] for curve in chart.curves)
    last = max(curve.points[-1][0] for curve in chart.curves)
    margin = 0.02 * (last - first) or 0.5
    axes.set_xlim(first - margin, last + margin)
    axes.grid(visible=True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_LABEL, length=0, pad=5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_AXIS)


def _place(axes: Any, width: float, height: float) -> None:
    """Leave the labels the room they need, measured in letters: the page's font is not matplotlib's."""
    longest = max(len(axes.yaxis.get_major_formatter()(tick)) for tick in axes.get_yticks())
    left = min((longest + 1.5) * _LETTER_UNITS / (72 * width), 0.4)
    right, above, below = 22 / (72 * width), 20 / (72 * height), 24 / (72 * height)
    axes.set_position((left, below, 1 - left - right, 1 - above - below))


def _formatter(words: Catalogue, locations: Callable[[], Any], *, own_steps: bool = False) -> Any:
    """Writes ticks as the terminal does; on a logarithmic axis each is its own step."""
    from matplotlib.ticker import FuncFormatter

    def write(value: float, _position: int | None = None) -> str:
        ticks = [float(tick) for tick in locations()]
        if own_steps or len(ticks) < 2:
            return tick_text(words, value, value)
        return tick_text(words, value, ticks[1] - ticks[0], max(ticks))

    return FuncFormatter(write)


def _curve(axes: Any, curve: Curve, columns: int) -> None:
    color = list(_PLACEHOLDERS)[curve.role % ROLES]
    points = thin(curve.points, columns)
    trend = curve.noisy and len(curve.points) > columns // 2
    xs, ys = _columns(points)
    dashes = DASHES[curve.role // ROLES % len(DASHES)]
    if curve.dotted:
        marker = _MARKERS[curve.role % len(_MARKERS)] if len(points) <= _MAX_MARKERS else ""
        axes.plot(
            xs, ys, dashes, color=color, linewidth=1.8, marker=marker, markersize=4.5, markeredgewidth=0
        )
        return
    axes.plot(xs, ys, color=color, linewidth=1.0 if trend else 1.5, alpha=0.45 if trend else 1.0)
    if trend:
        axes.plot(*_columns(medians(curve.points, columns // 4)), color=color, linewidth=1.8)


def _marks(axes: Any, chart: Chart) -> None:
    numbers: dict[float, list[int]] = {}
    for mark in chart.marks:
        if mark.y is not None:
            # White-filled in no scheme: a ring leaves the curve's own point visible.
            axes.plot([mark.x], [mark.y], "o", markersize=11, markerfacecolor="none", markeredgecolor=_BEST)
        else:
            numbers.setdefault(mark.x, []).append(mark.number)
    for x, found in numbers.items():
        axes.axvline(x, color=_FLAG, linewidth=1.2, dashes=(4, 3))
        text = ",".join(str(number) for number in dict.fromkeys(found))
        above = {
            "xycoords": ("data", "axes fraction"),
            "textcoords": "offset points",
            "annotation_clip": False,
        }
        centred = {"ha": "center", "va": "bottom", "color": _FLAG, "fontweight": "bold"}
        axes.annotate(text, (x, 1), (0, 2), **above, **centred)


def _columns(points: list[Point]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


# --- matplotlib's SVG made ours


def _for_page(drawn: bytes, prefix: str) -> ElementTree.Element:
    root = ElementTree.fromstring(drawn)
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
        for name in list(element.attrib):
            value = element.attrib.pop(name)
            if name in {"d", "x", "y", "transform"}:
                value = _LONG_DECIMALS.sub(r"\1", value)  # a tenth of a unit is finer than a pixel
            element.set(_NAMESPACE.sub("", name), value)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {"metadata", "style"}:
                parent.remove(child)
    used = _references(root)
    for element in root.iter():
        _make_unique(element, used, prefix)
        _style_to_attributes(element)
        if element.text is not None and not element.text.strip():
            element.text = None
        element.tail = None
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    return root


def _references(root: ElementTree.Element) -> set[str]:
    values = [value for element in root.iter() for value in element.attrib.values()]
    return {v[1:] for v in values if v.startswith("#")} | {m for v in values for m in _REFERENCE.findall(v)}


def _make_unique(element: ElementTree.Element, used: set[str], prefix: str) -> None:
    for name, value in list(element.attrib.items()):
        if name == "id":
            del element.attrib["id"]
            if value in used:
                element.set("id", f"{prefix}-{value}")
        elif name == "href":
            element.set("href", f"#{prefix}-{value[1:]}")
        else:
            element.set(name, _REFERENCE.sub(rf"url(#{prefix}-\1)", value))


def _style_to_attributes(element: ElementTree.Element) -> None:
    """`style="stroke: #000001; fill: none"` to attributes and classes; the font is the page's."""
    classes = []
    for declaration in (element.attrib.pop("style", "") or "").split(";"):
        name, _, value = (piece.strip() for piece in declaration.partition(":"))
        if value in _PLACEHOLDERS and name in {"fill", "stroke"}:
            classes.append(f"{name}-{_PLACEHOLDERS[value]}")
        elif name == "font":
            if "bold" in value or re.search(r"\b[67]00\b", value):
                classes.append("strong")
        elif name and not name.startswith("font") and name != "-inkscape-font-specification":
            element.set(name, value)
    if classes:
        element.set("class", " ".join(classes))

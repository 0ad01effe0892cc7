"""A chart in a terminal: braille dots by plotille, axes and legend around them.

plotille because it is small, pure Python and maintained, draws into any width and leaves the axes to its user
(https://github.com/tammoippen/plotille). Curves of evaluations carry letters, so that they stay apart without
colour; colours are the terminal's own sixteen, which suit its theme.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.explain.catalogue import Catalogue
from nanogpt_cli.explain.show.axis import linear_ticks, log_ticks, tick_text
from nanogpt_cli.explain.show.series import Chart, Curve
from nanogpt_cli.explain.show.thin import Point, medians, thin

# By role. Blue and yellow differ for every kind of colour blindness.
COLORS: Final = ("blue", "cyan", "yellow", "magenta", "green", "red", "bright_blue", "bright_magenta")
LETTERS: Final = "·xo+*#%@"
_BEST: Final = "★"
_MIN_WIDTH, _MIN_HEIGHT, _MIN_COLUMNS = 24, 6, 10
_X_LABEL_COLUMNS: Final = 9  # one tick for so many columns
_DOTS_X, _DOTS_Y = 2, 4  # of a braille character
_ASCII: Final = {"│": "|", "┤": "+", "└": "+", "─": "-", "┬": "+", _BEST: "*", "·": ".", "┊": ":"}


def terminal_plot(chart: Chart, words: Catalogue, width: int, height: int, *, color: bool) -> list[str]:
    """`height` rows of curves with their axes, at most `width` columns wide."""
    width, height = max(width, _MIN_WIDTH), max(height, _MIN_HEIGHT)
    frame = _Frame(chart, words, width, height)
    rows = _Drawing(frame, color=color).rows(chart)
    pairs = zip(frame.labels, rows, strict=True)
    return [f"{label:>{frame.margin}}{edge}{row}" for (label, edge), row in pairs] + list(frame.x_axis())


def ascii_plot(lines: Sequence[str]) -> list[str]:
    """The same drawing for a stream that takes no more than ASCII."""
    table: dict[int, str] = {0x2800: " ", **dict.fromkeys(range(0x2801, 0x2900), ".")}
    return [line.translate(table | str.maketrans(_ASCII)) for line in lines]


class _Frame:
    """The axes: which part of the plane is shown, on how many dots, and where the ticks are."""

    def __init__(self, chart: Chart, words: Catalogue, width: int, height: int) -> None:
        self.words, self.height, self.log = words, height, chart.log_scale
        self.x_low = min(curve.points[0][0] for curve in chart.curves)
        self.x_high = max(curve.points[-1][0] for curve in chart.curves)
        if self.x_high == self.x_low:
            self.x_high += 1
        low, high = min(chart.values), chart.top
        self._y_low, self._y_high = self._scaled(low), self._scaled(high)
        if self._y_high == self._y_low:
            self._y_low, self._y_high = self._y_low - 0.5, self._y_high + 0.5
        ticks = log_ticks(low, high, height // 3) if self.log else linear_ticks(low, high, height // 3)
        self.labels = self._labels(ticks)
        self.margin = max(len(label) for label, _ in self.labels)
        self.columns = max(width - self.margin - 1, _MIN_COLUMNS)

    def _scaled(self, y: float) -> float:
        return math.log10(y) if self.log else y

    def dot_x(self, x: float) -> int:
        """The dot's column, from the left."""
        return round((x - self.x_low) / (self.x_high - self.x_low) * (self.columns * _DOTS_X - 1))

    def dot_y(self, y: float) -> int:
        """The dot's row, from below."""
        share = (self._scaled(y) - self._y_low) / (self._y_high - self._y_low)
        return round(share * (self.height * _DOTS_Y - 1))

    def _labels(self, ticks: Sequence[float]) -> list[tuple[str, str]]:
        """The tick's text and the edge of every row, from above."""
        labels = [("", "│")] * self.height
        for i, tick in enumerate(ticks):
            other = ticks[i - 1] if i else ticks[min(1, len(ticks) - 1)]
            step = tick if self.log else abs(tick - other)
            row = self.height - 1 - self.dot_y(tick) // _DOTS_Y
            labels[row] = (tick_text(self.words, tick, step, tick if self.log else ticks[-1]), "┤")
        return labels

    def x_axis(self) -> Iterator[str]:
        """The line of the axis and the line of its numbers."""
        ticks = linear_ticks(self.x_low, self.x_high, max(1, self.columns // _X_LABEL_COLUMNS))
        step = ticks[1] - ticks[0] if len(ticks) > 1 else 0.0
        edge, numbers = ["─"] * self.columns, [" "] * (self.columns + self.margin + 1)
        free_from = 0
        for tick in ticks:
            column = self.dot_x(tick) // _DOTS_X
            text = tick_text(self.words, tick, step, ticks[-1])
            start = max(0, min(column + self.margin + 1 - len(text) // 2, len(numbers) - len(text)))
            if start < free_from:
                continue
            edge[column] = "┬"
            numbers[start : start + len(text)] = text
            free_from = start + len(text) + 1
        yield " " * self.margin + "└" + "".join(edge)
        yield "".join(numbers).rstrip()


class _Drawing:
    """A canvas in dots, (0, 0) below on the left."""

    def __init__(self, frame: _Frame, *, color: bool) -> None:
        try:
            from plotille import Canvas
        except ImportError as error:  # an installation without its dependencies
            hint = "pip install plotille"
            raise NanoGPTError(f"plotille, which draws the curves, is missing: {error}", hint) from error

        self._frame, self._color = frame, color
        columns, height = frame.columns, frame.height
        self._canvas: Any = Canvas(columns, height, 0, 0, columns * _DOTS_X, height * _DOTS_Y)

    def rows(self, chart: Chart) -> list[str]:
        """Draw everything; what comes later lies above."""
        for mark in chart.marks:
            if mark.y is None:
                for row in range(self._frame.height):
                    self._letter(mark.x, row * _DOTS_Y, "┊", "red")
        for curve in chart.curves:
            self._curve(curve)
        for mark in chart.marks:
            if mark.y is not None and math.isfinite(mark.y):
                self._letter(mark.x, self._frame.dot_y(mark.y), _BEST, "green")
            elif mark.y is None:
                self._letter(mark.x, self._frame.height * _DOTS_Y - 1, str(mark.number % 10), "red")
        return str(self._canvas.plot()).split("\n")

    def _curve(self, curve: Curve) -> None:
        columns = self._frame.columns
        points = thin(curve.points, columns * _DOTS_X)
        color = COLORS[curve.role % len(COLORS)]
        trend = curve.noisy and len(curve.points) > columns
        if self._color or not curve.dotted:
            self._line(points, "bright_black" if trend else color)
        if trend and self._color:  # without colour it would only hide the points
            self._line(medians(curve.points, columns // 2), color)
        if curve.dotted:
            letter = LETTERS[curve.role % len(LETTERS)]
            for x, y in points:
                if math.isfinite(y):
                    self._letter(x, self._frame.dot_y(y), letter, color)

    def _line(self, points: Sequence[Point], color: str) -> None:
        before: tuple[int, int] | None = None
        for x, y in points:
            here = (self._frame.dot_x(x), self._frame.dot_y(y)) if math.isfinite(y) else None
            if here is not None:
                self._canvas.line(*(before or here), *here, color=self._paint(color))
            before = here

    def _letter(self, x: float, dot_y: int, letter: str, color: str) -> None:
        if self._frame.x_low <= x <= self._frame.x_high:
            self._canvas.point(self._frame.dot_x(x), dot_y, color=self._paint(color), marker=letter)

    def _paint(self, color: str) -> str | None:
        return color if self._color else None


class Entry(NamedTuple):
    """One line of a legend; sign and color are "" for a remark."""

    sign: str
    color: str
    text: str

    def __str__(self) -> str:
        return f"{self.sign} {self.text}".strip()


def legend(
    chart: Chart, words: Catalogue, titles: Mapping[int, str], names: Sequence[str] = ()
) -> list[Entry]:
    """What is drawn, one entry a curve and a mark; `titles` are the findings' by number."""
    entries = []
    for i, curve in enumerate(chart.curves):
        sign = LETTERS[curve.role % len(LETTERS)] if curve.dotted else "⠒"
        name = names[i] if names else words.text("plot", f"curve_{curve.name}")
        entries.append(Entry(sign, COLORS[curve.role % len(COLORS)], name))
    for number in sorted({mark.number for mark in chart.marks}):
        places = [mark for mark in chart.marks if mark.number == number]
        if number:
            numbers = words.listed(words.text("plot", "tick_0", x=mark.x) for mark in places)
            text = words.text("plot", "mark", n=number, title=titles[number], iters=numbers)
            entries.append(Entry("┊", "red", text))
        elif (best := places[0].y) is not None:
            text = words.text("plot", "best", val=best, iter=int(places[0].x))
            entries.append(Entry(_BEST, "green", text))
    if chart.top < max(chart.values):
        entries.append(Entry("", "", words.text("plot", "clipped", high=max(chart.values))))
    if chart.log_scale:
        entries.append(Entry("", "", words.text("plot", "log_scale")))
    return entries

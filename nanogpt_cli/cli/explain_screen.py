"""How `explain-log` shows an explanation on stdout: panels on a terminal, plain text anywhere else."""

import sys
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from nanogpt_cli.explain.catalogue import load_catalogue
from nanogpt_cli.explain.report import Explanation
from nanogpt_cli.explain.show.plot import Entry, ascii_plot, legend, terminal_plot
from nanogpt_cli.explain.show.series import Chart, charts
from nanogpt_cli.explain.show.text import heading, plain_text, unread_lines, what_was_read
from nanogpt_cli.explain.show.wrap import wrap

_MAX_WIDTH = 100  # longer lines of prose are hard to read
PLOT_ROWS = 16
_STYLES = {"error": "red", "warning": "yellow", "info": "green"}


def stdout_console() -> Console:
    """rich on stdout as it is now; log text is never markup."""
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = min(console.width, _MAX_WIDTH)
    return console


def is_rich(console: Console) -> bool:
    """Whether panels and colour can be shown."""
    return console.is_terminal and not console.is_dumb_terminal


def show(explanation: Explanation, *, plot: bool, unread: bool = False, lines: bool = True) -> None:
    """The explanation is the data: it goes to stdout; `lines` False leaves the explained lines out."""
    console = stdout_console()
    if is_rich(console):
        console.print(panels(explanation, console, plot=plot, unread=unread, lines=lines))
        return
    curves = plot_lines(explanation, console.width) if plot else ()
    sys.stdout.write(plain_text(explanation, console.width, plot=curves, unread=unread))
    sys.stdout.flush()


def panels(
    explanation: Explanation,
    console: Console,
    *,
    plot: bool = False,
    unread: bool = False,
    lines: bool = True,
    plot_rows: int = PLOT_ROWS,
) -> RenderableType:
    """Everything below one another; `lines` False leaves the explained lines out."""
    words = load_catalogue(explanation.language)
    summary = Text.assemble(explanation.summary, "\n", (what_was_read(explanation), "dim"))
    parts: list[RenderableType] = [_prose(summary, console, words.text("words", "summary"))]
    if plot:
        parts += _plot_panels(explanation, console, plot_rows)
    for finding in explanation.findings:
        style = _STYLES[finding.severity]
        advice = (words.labelled(words.text("words", "advice"), ""), "bold")
        body = Text.assemble(finding.message, "\n", advice, finding.advice)
        parts.append(_prose(body, console, Text(heading(finding, words), style=f"bold {style}"), style))
    for line in explanation.lines if lines else ():
        pieces = [piece for label, text in line.parts for piece in ((f"{label}  ", "bold cyan"), f"{text}\n")]
        body = Text.assemble(*pieces)
        body.rstrip()
        parts.append(_prose(body, console, Text(line.text, style="bold"), "dim"))
    if unread:
        title, texts = unread_lines(explanation)
        parts.append(_panel(Text("\n".join(texts), overflow="ellipsis", no_wrap=True), Text(title), "dim"))
    return Group(*parts)


def _panel(body: RenderableType, title: Text | str, style: str = "none") -> Panel:
    return Panel(body, title=title, title_align="left", border_style=style)


def _prose(body: Text, console: Console, title: Text | str, style: str = "none") -> Panel:
    """A panel of sentences, whose lines end where the language allows."""
    room = console.width - 4
    if not body.plain.isascii():  # rich parts Chinese only where a whole clause does not fit
        ends, at = [], 0
        for line in wrap(body.plain, room):
            at = body.plain.index(line, at) + len(line)
            ends.append(at)
        body = Text("\n").join(_stripped(part) for part in body.divide(ends[:-1]))
    return _panel(body, title, style)


def _stripped(part: Text) -> Text:
    """A line without the space or the line end that stood before it."""
    return part[len(part.plain) - len(part.plain.lstrip(" \n")) :]


def _plot_panels(explanation: Explanation, console: Console, height: int) -> list[Panel]:
    words = load_catalogue(explanation.language)
    color = console.color_system is not None and not console.no_color
    shown = []
    for chart in main_charts(explanation):
        rows = terminal_plot(chart, words, console.width - 4, height, color=color)
        drawing = Text.from_ansi("\n".join(rows), no_wrap=True)
        entries = legend_text(legend(chart, words, _titles(explanation)))
        shown.append(_panel(Group(drawing, entries), Text(words.text("plot", f"chart_{chart.name}"))))
    return shown or [_panel(Text(words.text("plot", "nothing")), "")]


def plot_lines(explanation: Explanation, width: int) -> list[str]:
    """The plot without colour, in characters that stdout can write."""
    words = load_catalogue(explanation.language)
    lines: list[str] = []
    for chart in main_charts(explanation):
        rows = terminal_plot(chart, words, width, PLOT_ROWS, color=False)
        entries = [
            line for e in legend(chart, words, _titles(explanation)) for line in wrap(str(e), width, "", "  ")
        ]
        lines += [*([""] if lines else []), words.text("plot", f"chart_{chart.name}"), *rows, *entries]
    return written(lines or [words.text("plot", "nothing")])


def legend_text(entries: Sequence[Entry]) -> Text:
    """The legend with its signs in the colours of what they stand for."""
    text = Text()
    for entry in entries:
        text.append(f"{entry.sign} " if entry.sign else "", style=entry.color)
        text.append(f"{entry.text}\n")
    text.rstrip()
    return text


def written(lines: Sequence[str]) -> list[str]:
    """Braille where stdout takes it, ASCII where it does not (a Windows pipe)."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        "\u28ff★┤".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ascii_plot(lines)
    return list(lines)


def main_charts(explanation: Explanation) -> list[Chart]:
    """The losses, in nats and in bits per byte; of a log without losses what it has."""
    found = charts(explanation)
    return [chart for chart in found if chart.name in {"loss", "val_bpb"}] or list(found[:1])


def _titles(explanation: Explanation) -> dict[int, str]:
    return {number: finding.title for number, finding in enumerate(explanation.findings, 1)}

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
from nanogpt_cli.explain.show.text import heading, plain_text, unread_lines

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
    parts: list[RenderableType] = [_panel(Text(explanation.summary), words.text("words", "summary"))]
    if plot:
        parts.append(_plot_panel(explanation, console, plot_rows))
    for finding in explanation.findings:
        style = _STYLES[finding.severity]
        advice = (f"{words.text('words', 'advice')}: ", "bold")
        body = Text.assemble(finding.message, "\n", advice, finding.advice)
        parts.append(_panel(body, Text(heading(finding, words), style=f"bold {style}"), style))
    for line in explanation.lines if lines else ():
        pieces = [piece for label, text in line.parts for piece in ((f"{label}  ", "bold cyan"), f"{text}\n")]
        body = Text.assemble(*pieces)
        body.rstrip()
        parts.append(_panel(body, Text(line.text, style="bold"), "dim"))
    if unread:
        title, texts = unread_lines(explanation)
        parts.append(_panel(Text("\n".join(texts), overflow="ellipsis", no_wrap=True), Text(title), "dim"))
    return Group(*parts)


def _panel(body: RenderableType, title: Text | str, style: str = "none") -> Panel:
    return Panel(body, title=title, title_align="left", border_style=style)


def _plot_panel(explanation: Explanation, console: Console, height: int) -> Panel:
    words = load_catalogue(explanation.language)
    chart = main_chart(explanation)
    if chart is None:
        return _panel(Text(words.text("plot", "nothing")), "")
    color = console.color_system is not None
    rows = terminal_plot(chart, words, console.width - 4, height, color=color)
    drawing = Text.from_ansi("\n".join(rows), no_wrap=True)
    entries = legend_text(legend(chart, words, _titles(explanation)))
    return _panel(Group(drawing, entries), Text(words.text("plot", f"chart_{chart.name}")))


def plot_lines(explanation: Explanation, width: int) -> list[str]:
    """The plot without colour, in characters that stdout can write."""
    words = load_catalogue(explanation.language)
    chart = main_chart(explanation)
    if chart is None:
        return [words.text("plot", "nothing")]
    rows = terminal_plot(chart, words, width, PLOT_ROWS, color=False)
    title = words.text("plot", f"chart_{chart.name}")
    return written([title, *rows, *map(str, legend(chart, words, _titles(explanation)))])


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


def main_chart(explanation: Explanation) -> Chart | None:
    """The loss if the log has it, else what it has."""
    return next(iter(charts(explanation)), None)


def _titles(explanation: Explanation) -> dict[int, str]:
    return {number: finding.title for number, finding in enumerate(explanation.findings, 1)}

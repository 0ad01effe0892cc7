"""How `explain-log A B` shows a comparison on stdout: rich's tables, with colour only on a terminal."""

import sys
from collections.abc import Iterable, Sequence
from string import ascii_uppercase

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nanogpt_cli.cli.explain_screen import PLOT_ROWS, is_rich, legend_text, stdout_console, written
from nanogpt_cli.explain.catalogue import load_catalogue
from nanogpt_cli.explain.compare import Comparison
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
from nanogpt_cli.explain.show.plot import legend, terminal_plot
from nanogpt_cli.explain.show.series import Chart

_LONG_NAME = 18  # columns; longer names would fill a table of their own


def show_comparison(comparison: Comparison, *, plot: bool) -> None:
    """Facts, settings that differ, who is better, curves."""
    console = stdout_console()
    words = load_catalogue(comparison.language)
    names, key = _columns(comparison)
    _title(console, words.text("compare", "facts"))
    for line in key:
        console.print(Text(line))
    _table(console, names, fact_rows(comparison))
    if rows := difference_rows(comparison):
        _title(console, words.text("compare", "differences"))
        _table(console, names, rows)
    for caution in cautions(comparison):
        console.print(Text(caution, style="yellow"))
    for group in comparison.groups:
        _title(console, heading(comparison, group, names))
        _table(console, [names[i] for i in group.members], standing_rows(comparison, group))
        for sentence in sentences(comparison, group, names):
            console.print(Text(f"- {sentence}"))
        if plot:
            _plot(console, comparison, group_charts(comparison, group))
    sys.stdout.flush()


def _columns(comparison: Comparison) -> tuple[list[str], list[str]]:
    """What the runs are called on the screen, and the key to it: letters where the names are long."""
    names = [entry.name for entry in comparison.entries]
    if max(map(len, names)) <= _LONG_NAME or len(names) > len(ascii_uppercase):
        return names, []
    letters = list(ascii_uppercase[: len(names)])
    return letters, [f"{letter}  {name}" for letter, name in zip(letters, names, strict=True)]


def comparison_plots(comparison: Comparison, width: int) -> list[str]:
    """All curves without colour, for a code block."""
    words = load_catalogue(comparison.language)
    lines: list[str] = []
    for group in comparison.groups:
        for chart, names in group_charts(comparison, group):
            rows = terminal_plot(chart, words, width, PLOT_ROWS, color=False)
            entries = legend(chart, words, {}, names)
            lines += [words.text("plot", f"chart_{chart.name}"), *rows, *map(str, entries), ""]
    return written(lines)


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _table(console: Console, names: Sequence[str], rows: Sequence[Row]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", style="dim", overflow="fold")
    for name in names:
        table.add_column(Text(name), justify="right", overflow="fold")
    for row in rows:
        cells = [
            # The mark stays where colour does not.
            Text(f"* {cell}" if i == row.best else cell, style="bold green" if i == row.best else "")
            for i, cell in enumerate(row.cells)
        ]
        table.add_row(Text(row.label), *cells)
    console.print(table)


def _plot(console: Console, comparison: Comparison, charts: Iterable[tuple[Chart, list[str]]]) -> None:
    words = load_catalogue(comparison.language)
    color = is_rich(console) and console.color_system is not None
    for chart, names in charts:
        rows = terminal_plot(chart, words, console.width, PLOT_ROWS, color=color)
        _title(console, words.text("plot", f"chart_{chart.name}"))
        console.print(Text.from_ansi("\n".join(written(rows)), no_wrap=True))
        entries = legend(chart, words, {}, names)
        console.print(legend_text(entries) if color else Text("\n".join(written([str(e) for e in entries]))))

"""How `train --explain` shows itself on stdout: a table on a terminal, plain text anywhere else."""

import sys
from collections.abc import Iterator
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from nanogpt_cli.cli.explain_screen import is_rich
from nanogpt_cli.config.schema import Value
from nanogpt_cli.explain.catalogue import Catalogue
from nanogpt_cli.explain.settings import ExplainedSetting, SettingsExplanation, settings_catalogue
from nanogpt_cli.explain.show.wrap import columns, wrap

_MAX_WIDTH: Final = 120  # longer lines of prose are hard to read
_WIDE: Final = 100  # from here on a setting's name and its explanation stand side by side
_NAMES_WIDTH: Final = 36


def show(explanation: SettingsExplanation) -> None:
    """The explanation is the data: it goes to stdout."""
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = min(console.width, _MAX_WIDTH)
    words = settings_catalogue(explanation.language)
    if is_rich(console):
        console.print(Group(*_parts(explanation, words, console.width)))
        return
    sys.stdout.write("\n".join(_lines(explanation, words, console.width)) + "\n")
    sys.stdout.flush()


# --- For a terminal


def _parts(explanation: SettingsExplanation, words: Catalogue, width: int) -> Iterator[RenderableType]:
    group = ""
    for row in explanation.settings:
        if row.group != group:
            group = row.group
            yield Rule(Text(group, style="bold cyan"), align="left", style="cyan")
        yield _wide(row, words, width) if width >= _WIDE else _narrow(row, words, width)
    if explanation.cautions:
        grid = _grid([(c.setting, c.message) for c in explanation.cautions], width - 4)
        title = Text(words.text("words", "cautions"), style="bold yellow")
        yield Panel(grid, title=title, title_align="left", border_style="yellow")
    title = Text(words.text("words", "forecast"), style="bold green")
    grid = _grid(list(explanation.forecast_rows), width - 4)
    yield Panel(grid, title=title, title_align="left", border_style="green")


def _wide(row: ExplainedSetting, words: Catalogue, width: int) -> RenderableType:
    table = Table.grid(padding=(0, 2, 1, 0), pad_edge=False)
    table.add_column(width=_NAMES_WIDTH)
    table.add_column()
    room = width - _NAMES_WIDTH - 2
    left = Text()
    lines = [("bold", row.setting.name), (_style(row), f"= {_typed(row.value)}"), ("dim", row.origin)]
    if not row.is_default:
        lines.append(("dim", words.text("words", "default_of", default=_typed(row.setting.default))))
    for style, text in lines:
        left.append("\n".join(wrap(text, _NAMES_WIDTH)) + "\n", style=style)
    left.rstrip()
    right = Text("\n".join(wrap(row.meaning, room)) + "\n", style="dim")
    right.append(_told(row, room))
    table.add_row(left, right)
    return table


def _narrow(row: ExplainedSetting, words: Catalogue, width: int) -> RenderableType:
    text = Text.assemble((row.setting.name, "bold"), (f" = {_typed(row.value)}", _style(row)), "\n")
    text.append("\n".join(wrap(_origin(row, words), width, "  ")) + "\n", style="dim")
    text.append("\n".join(wrap(row.meaning, width, "  ")) + "\n", style="dim")
    text.append(_told(row, width, "  "))
    return Text.assemble(text, "\n")


def _told(row: ExplainedSetting, room: int, indent: str = "") -> Text:
    return Text("\n".join(wrap(row.effect, room, indent)), style="yellow" if row.cautions else "none")


def _style(row: ExplainedSetting) -> str:
    return "bold yellow" if row.cautions else "green" if row.is_default else "bold green"


def _grid(rows: list[tuple[str, str]], room: int) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    left = max(columns(label) for label, _ in rows)
    beside = room - left - 2 >= room // 2
    grid.add_column(style="dim" if beside else "none", width=left if beside else room)
    if beside:
        grid.add_column()
    for label, text in rows:
        if beside:
            grid.add_row(Text(label), Text("\n".join(wrap(text, room - left - 2))))
        else:
            grid.add_row(Text.assemble((label, "bold"), "\n", "\n".join(wrap(text, room, "  "))))
    return grid


# --- For pipes, files and dumb terminals


def _lines(explanation: SettingsExplanation, words: Catalogue, width: int) -> Iterator[str]:
    group = ""
    for row in explanation.settings:
        if row.group != group:
            yield from ([""] if group else [])
            group = row.group
            yield f"# {group}"
        yield ""
        yield f"{row.setting.name} = {_typed(row.value)}"
        yield from wrap(_origin(row, words), width, "    ")
        yield from wrap(row.meaning, width, "    ")
        yield from wrap(row.effect, width, "    ")
    if explanation.cautions:
        yield from ("", f"# {words.text('words', 'cautions')}", "")
        for caution in explanation.cautions:
            yield from wrap(words.labelled(caution.setting, caution.message), width, "  ", "    ")
    yield from ("", f"# {words.text('words', 'forecast')}", "")
    for label, text in explanation.forecast_rows:
        yield from wrap(words.labelled(label, text), width, "  ", "    ")


# --- Both


def _typed(value: Value) -> str:
    """As it is typed: `0.001`, `True`; a text that is empty shows that it is."""
    return '""' if value == "" else str(value)


def _origin(row: ExplainedSetting, words: Catalogue) -> str:
    if row.is_default:
        return words.text("words", "is_default")
    return words.text("words", "with_default", origin=row.origin, default=_typed(row.setting.default))

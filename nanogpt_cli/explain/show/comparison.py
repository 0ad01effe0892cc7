"""A comparison in words and rows, whatever shows them: a terminal, Markdown or the page."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nanogpt_cli.explain.catalogue import Catalogue, load_catalogue
from nanogpt_cli.explain.compare import Comparison, Entry
from nanogpt_cli.explain.progress import Axis, along
from nanogpt_cli.explain.records import Scalar
from nanogpt_cli.explain.report import visible
from nanogpt_cli.explain.show.series import Chart, ChartName, Curve
from nanogpt_cli.explain.show.text import format_in_words
from nanogpt_cli.explain.standings import AXES, Group, Standing, losses

UNKNOWN = "–"
_CHARTS: dict[Axis, ChartName] = {
    "iterations": "loss_by_iterations",
    "tokens": "loss_by_tokens",
    "seconds": "loss_by_seconds",
}


@dataclass(frozen=True)
class Row:
    """One line of a table: a cell for each run, the best of which may be known."""

    label: str
    cells: tuple[str, ...]
    best: int | None = None


def fact_rows(comparison: Comparison) -> list[Row]:
    """What each run is and reached; rows that no run fills are left out."""
    words = load_catalogue(comparison.language)
    cells: dict[str, Callable[[Entry], str | None]] = {
        "trainer": lambda e: format_in_words(e.explanation, words),
        "params": lambda e: _parameters(e, words),
        "iterations": lambda e: _count(e.run.last_iter, words),
        "tokens": lambda e: _count(e.tokens, words),
        "time": lambda e: None if e.seconds is None else words.duration(e.seconds),
        "ms": lambda e: None if e.median_ms is None else words.text("compare", "value_ms", ms=e.median_ms),
        "best": lambda e: _best(e, words),
        "last": lambda e: _last(e, words),
        "last_train": lambda e: _last_train(e, words),
        "finding": lambda e: e.explanation.findings[0].title if e.explanation.findings else None,
    }
    rows = []
    for key, cell in cells.items():
        values = tuple(cell(entry) for entry in comparison.entries)
        if any(value is not None for value in values):
            label = words.text("compare", f"row_{key}")
            rows.append(Row(label, tuple(value or UNKNOWN for value in values)))
    return rows


def difference_rows(comparison: Comparison) -> list[Row]:
    """The settings that differ, as the logs give them."""
    return [
        Row(visible(name), tuple(UNKNOWN if value is None else _setting(value) for value in values))
        for name, values in comparison.differences.items()
    ]


def standing_rows(comparison: Comparison, group: Group) -> list[Row]:
    """The losses at equal cost, and the cost of an equal loss; a cell for every member of the group."""
    words = load_catalogue(comparison.language)
    rows = []
    for standing in group.standings:
        label = words.text(
            "compare", f"at_{standing.axis}", x=standing.x or 0, time=words.duration(standing.x or 0)
        )
        cells = tuple(words.text("compare", "value_loss", loss=loss) for loss in standing.losses)
        rows.append(Row(label, cells, standing.winner))
    for axis, needed in group.reached.items():
        label = words.text("compare", f"reach_{axis}", loss=group.target or 0)
        cells = tuple(words.duration(x) if axis == "seconds" else _count(int(x), words) or "" for x in needed)
        first, second = sorted(needed)[:2]
        rows.append(Row(label, cells, needed.index(first) if first < 0.95 * second else None))
    return rows


def sentences(comparison: Comparison, group: Group, names: Sequence[str] = ()) -> list[str]:
    """Who is better, a sentence for each kind of cost; `names` are the runs' if they are called otherwise."""
    words = load_catalogue(comparison.language)
    called = names or [entry.name for entry in comparison.entries]
    return [_sentence(words, standing, [called[i] for i in group.members]) for standing in group.standings]


def _sentence(words: Catalogue, standing: Standing, names: Sequence[str]) -> str:
    order = sorted(range(len(names)), key=lambda i: standing.losses[i])
    first, second = order[:2]
    numbers: dict[str, float | str] = {
        "name": names[first],
        "other": names[second],
        "loss": standing.losses[first],
        "other_loss": standing.losses[second],
        "margin": standing.losses[second] - standing.losses[first],
        "x": standing.x or 0,
        "time": words.duration(standing.x or 0),
    }
    outcome = "tie" if standing.winner is None else "win"
    return words.text("compare", f"{outcome}_{standing.axis}", **numbers)


def heading(comparison: Comparison, group: Group, names: Sequence[str] = ()) -> str:
    """What is compared in a group: which runs, which loss, in which unit."""
    words = load_catalogue(comparison.language)
    if len(group.members) == len(comparison.entries):
        return words.text("compare", f"group_{group.metric}_{group.unit}_all")
    called = names or [entry.name for entry in comparison.entries]
    members = words.listed(called[i] for i in group.members)
    return words.text("compare", f"group_{group.metric}_{group.unit}", names=members)


def cautions(comparison: Comparison) -> list[str]:
    """What a reader must know before believing the numbers."""
    words = load_catalogue(comparison.language)
    texts = [words.text("compare", f"caution_{caution}") for caution in comparison.cautions]
    if comparison.alone:
        names = words.listed(comparison.entries[i].name for i in comparison.alone)
        texts.append(words.text("compare", "alone", names=names))
    return texts


def group_charts(comparison: Comparison, group: Group) -> Iterator[tuple[Chart, list[str]]]:
    """The group's losses over iterations, tokens and seconds, with the names of the curves."""
    entries = [comparison.entries[i] for i in group.members]
    names = [entry.name for entry in entries]
    for axis in AXES:
        lines = [
            along(entry.explanation.log, entry.run, losses(entry.explanation, group.metric), axis)
            for entry in entries
        ]
        if all(len(line) > 1 for line in lines):
            curves = [
                Curve(name, line, role=role, dotted=True)
                for role, (name, line) in enumerate(zip(names, lines, strict=True))
            ]
            yield Chart(_CHARTS[axis], tuple(curves)), names


# --- cells


def _count(value: int | None, words: Catalogue) -> str | None:
    return None if value is None else words.text("plot", "tick_0", x=value)


def _parameters(entry: Entry, words: Catalogue) -> str | None:
    if not entry.run.n_params:
        return None
    return words.text("page", "value_params", params=entry.run.n_params)


def _best(entry: Entry, words: Catalogue) -> str | None:
    best = entry.run.best_eval
    if best is None:
        return None
    return words.text("compare", f"value_{entry.run.val_unit}_at", loss=best.val_loss, iter=best.iter_num)


def _last(entry: Entry, words: Catalogue) -> str | None:
    if not entry.run.evals or not math.isfinite(entry.run.evals[-1].val_loss):
        return None
    last = entry.run.evals[-1]
    return words.text("compare", f"value_{entry.run.val_unit}_at", loss=last.val_loss, iter=last.iter_num)


def _last_train(entry: Entry, words: Catalogue) -> str | None:
    curve = losses(entry.explanation, "train")
    return words.text("compare", "value_loss", loss=curve[-1][1]) if curve else None


def _setting(value: Scalar) -> str:
    text = f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)
    return visible(text)

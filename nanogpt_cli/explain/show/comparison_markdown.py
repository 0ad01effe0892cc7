"""A comparison as Markdown: tables with a column for each run, then who is better."""

from collections.abc import Iterator, Sequence

from nanogpt_cli.explain.catalogue import load_catalogue
from nanogpt_cli.explain.compare import Comparison
from nanogpt_cli.explain.show.comparison import (
    Row,
    cautions,
    difference_rows,
    fact_rows,
    heading,
    sentences,
    standing_rows,
)
from nanogpt_cli.explain.show.markdown import code_block, escaped


def comparison_markdown(comparison: Comparison, *, plots: Sequence[str] = ()) -> str:
    """The whole comparison as one document; `plots` stand at the end as they are."""
    return "\n\n".join(_blocks(comparison, plots)) + "\n"


def _blocks(comparison: Comparison, plots: Sequence[str]) -> Iterator[str]:
    words = load_catalogue(comparison.language)
    names = [entry.name for entry in comparison.entries]
    yield f"## {words.text('compare', 'facts')}"
    yield _table(names, fact_rows(comparison))
    if rows := difference_rows(comparison):
        yield f"## {words.text('compare', 'differences')}"
        yield _table(names, rows)
    for caution in cautions(comparison):
        yield f"> {escaped(caution)}"
    for group in comparison.groups:
        yield f"## {escaped(heading(comparison, group))}"
        yield _table([names[i] for i in group.members], standing_rows(comparison, group))
        yield "\n".join(f"- {escaped(sentence)}" for sentence in sentences(comparison, group))
    if plots:
        yield code_block(plots)


def _table(names: Sequence[str], rows: Sequence[Row]) -> str:
    lines = [["", *(escaped(name) for name in names)], ["---", *(["---:"] * len(names))]]
    for row in rows:
        cells = [escaped(cell) for cell in row.cells]
        if row.best is not None:
            cells[row.best] = f"**{cells[row.best]}**"
        lines.append([escaped(row.label), *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

"""Samples on a terminal: the latest under the growing table, and one line of each when the run is over.

Texts are cut by the columns they take, of which a Chinese character needs two.
"""

from collections.abc import Sequence

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Group
from rich.text import Text

_LATEST_LINES = 3
_FINAL_SAMPLES = 12  # from the first to the last, evenly


def latest_sample(samples: Sequence[tuple[int, str]], width: int) -> list[Text]:
    """At most three lines for the last of `samples`: iterations, and texts without line breaks."""
    if not samples:
        return []
    iter_num, text = samples[-1]
    head = f"sample {iter_num}: "
    lines = chop_cells(head + text, width)
    if len(lines) > _LATEST_LINES:
        lines = [*lines[: _LATEST_LINES - 1], _cut("".join(lines[_LATEST_LINES - 1 :]), width)]
    shown = [Text(line, no_wrap=True, overflow="crop") for line in lines]
    shown[0].stylize("dim", 0, len(head))
    return shown


def final_samples(samples: Sequence[tuple[int, str]], width: int) -> Group:
    """One line a sample under the table's last row: how the writing changed."""
    last = len(samples) - 1
    count = min(len(samples), _FINAL_SAMPLES)
    chosen = sorted({round(number * last / max(1, count - 1)) for number in range(count)})
    lines = [Text("samples", style="bold")]
    for iter_num, text in (samples[index] for index in chosen):
        head = f"{iter_num:>6} "
        line = Text(head + _cut(text, max(1, width - len(head))), no_wrap=True, overflow="crop")
        line.stylize("dim", 0, len(head))
        lines.append(line)
    return Group(*lines)


def _cut(text: str, width: int) -> str:
    """`text` in at most `width` columns, with … where something is missing."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…"

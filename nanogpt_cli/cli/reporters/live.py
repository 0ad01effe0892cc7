"""The live screen of `train`: a panel of what is about to happen, a growing table, a progress bar.

Evaluations and checkpoints keep their rows; of the steps only the latest are shown. Narrow terminals lose the
least important columns first, and every frame fits the terminal's height. The whole table is printed once
more when the run ends, so that it stays in the scrollback.
"""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nanogpt_cli import events
from nanogpt_cli.cli.reporters.panels import end_panel, start_panel
from nanogpt_cli.cli.reporters.samples import final_samples, latest_sample
from nanogpt_cli.cli.reporters.words import duration, learning_rate, milliseconds, percent, rate, sample_line

_LATEST_STEPS = 5
_FINAL_ROWS = 60  # a run of many evaluations is thinned to what can be read
_REFRESH_PER_SECOND = 1  # a frame costs 1 to 2 ms; what matters is drawn at once besides
_SAMPLE_MIN_HEIGHT = 14  # a lower terminal needs its lines for the table


@dataclass(frozen=True)
class _Column:
    key: str
    header: str
    width: int
    rank: int  # the highest ranks go first when the terminal is narrow


_COLUMNS = (
    _Column("iter", "iter", 6, 0),
    _Column("train", "train loss", 10, 0),
    _Column("val", "val loss", 8, 0),
    _Column("lr", "lr", 6, 4),
    _Column("norm", "grad norm", 9, 7),
    _Column("clipped", "clipped", 7, 9),
    _Column("ms", "ms/iter", 8, 1),
    _Column("tokens", "tok/s", 6, 5),
    _Column("mfu", "MFU", 6, 2),
    _Column("epochs", "epochs", 6, 8),
    _Column("eta", "ETA", 7, 3),
    _Column("note", "", 5, 0),
)
_GAP = 1


@dataclass(frozen=True)
class _Row:
    cells: dict[str, str]
    style: str = ""


class LiveReporter:
    """Draws on `console`, which must be a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.rows: list[_Row] = []
        self.samples: list[tuple[int, str]] = []  # iteration, and the text on one line
        self.latest: deque[_Row] = deque(maxlen=_LATEST_STEPS)
        self.max_iters = 1
        self.done = 0
        self.eta_seconds: float | None = None
        self.status = ""
        self.started = time.monotonic()
        self._live: Live | None = None

    # --- Events

    def emit(self, event: events.Event) -> None:
        """Show the event."""
        match event:
            case events.RunStarted():
                self._start(event)
            case events.Compiling():
                self.status = "compiling, about a minute"
            case events.EvalStarted():
                self.status = "evaluating"
                self._refresh()
            case events.StepLogged():
                self._step(event)
            case events.EvalDone():
                self._eval(event)
            case events.SampleDrawn():
                self.samples.append((event.iter_num, sample_line(event)))
                self._refresh()
            case events.CheckpointSaved():
                self._milestone(_Row({"iter": str(event.iter_num), "note": "saved"}, "dim"))
            case events.Warned():
                self.console.print(Text("warning: ", style="yellow") + Text(event.message))
            case events.Notice():
                self.console.print(Text(event.message))
            case events.RunEnded():
                self._end(event)
            case events.Aborted():
                self.close()
                self.console.print("stopped")

    def close(self) -> None:
        """Give the terminal back, also after an error."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _start(self, event: events.RunStarted) -> None:
        self.max_iters = max(1, event.config.max_iters)
        self.done = event.resumed_from_iter or 0
        self.console.print(start_panel(event))
        self._live = Live(
            _Screen(self),
            console=self.console,
            refresh_per_second=_REFRESH_PER_SECOND,
            transient=True,
            redirect_stdout=False,
        )
        self._live.start()

    def _step(self, event: events.StepLogged) -> None:
        self.done = event.iter_num + 1
        self.eta_seconds = event.eta_seconds
        self.status = ""
        self.latest.append(
            _Row(
                {
                    "iter": str(event.iter_num),
                    "train": f"{event.loss:.4f}",
                    "lr": learning_rate(event.lr),
                    "norm": "" if event.grad_norm is None else f"{event.grad_norm:.2f}",
                    "clipped": "" if event.clipped is None else f"{event.clipped:.0%}",
                    "ms": milliseconds(event.step_ms),
                    "tokens": rate(event.tokens_per_second),
                    "mfu": percent(event.mfu),
                    "epochs": f"{event.epochs:.2f}",
                    "eta": "" if event.eta_seconds is None else duration(event.eta_seconds),
                }
            )
        )

    def _eval(self, event: events.EvalDone) -> None:
        self.status = ""
        self.done = event.iter_num
        cells = {
            "iter": str(event.iter_num),
            "train": f"{event.train_loss:.4f}",
            "val": f"{event.val_loss:.4f}",
            "lr": learning_rate(event.lr),
            "note": "best" if event.best else "eval",
        }
        if self.latest:  # how fast the run was when it got there
            cells |= {key: self.latest[-1].cells[key] for key in ("ms", "tokens", "mfu", "epochs", "eta")}
        if event.iter_num >= self.max_iters:
            cells["eta"] = ""  # it is there
            self.eta_seconds = None
        self._milestone(_Row(cells, "bold green" if event.best else "bold"))

    def _milestone(self, row: _Row) -> None:
        self.rows.append(row)
        self.latest.clear()
        self._refresh()

    def _end(self, event: events.RunEnded) -> None:
        self.close()
        self.console.print(build_table(self._final_rows(), self.console.width))
        if self.samples:
            self.console.print(final_samples(self.samples, self.console.width))
        self.console.print(end_panel(event))

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.refresh()

    def _final_rows(self) -> list[_Row]:
        rows = [*self.rows, *self.latest]
        if len(rows) <= _FINAL_ROWS:
            return rows
        stride = -(-len(rows) // _FINAL_ROWS)
        return [
            row for n, row in enumerate(rows) if n % stride == 0 or n >= len(rows) - 3 or "green" in row.style
        ]

    # --- Drawing

    def frame(self, width: int, height: int) -> RenderableType:
        """The table's tail and the progress bar, in at most `height` lines of `width` columns."""
        sample = latest_sample(self.samples, width) if height >= _SAMPLE_MIN_HEIGHT else []
        room = max(1, height - 5 - len(sample))  # two header lines, two of progress, one for the cursor
        rows = [*self.rows, *self.latest][-room:]
        return Group(build_table(rows, width), *sample, self._progress(width))

    def _progress(self, width: int) -> RenderableType:
        elapsed = duration(time.monotonic() - self.started)
        parts = [
            f"{self.done}/{self.max_iters}",
            f"{100 * self.done / self.max_iters:.0f}%",
            f"{elapsed} elapsed",
        ]
        if self.eta_seconds is not None:
            parts.append(f"{duration(self.eta_seconds)} to go")
        if self.status:
            parts.append(self.status)
        grid = Table.grid()  # a bar alone does not end its line
        bar_width = max(10, min(width - 2, 78))
        grid.add_row(ProgressBar(total=self.max_iters, completed=self.done, width=bar_width))
        grid.add_row(Text(" · ".join(parts), style="dim", no_wrap=True, overflow="ellipsis"))
        return grid


class _Screen:
    """Asks for a new frame at every refresh, at the terminal's size of that moment."""

    def __init__(self, reporter: LiveReporter) -> None:
        self.reporter = reporter

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.reporter.frame(options.max_width, console.height)


def build_table(rows: Iterable[_Row], width: int) -> Text:
    """The table with as many columns as fit into `width`.

    Lines of text, not rich's Table: that measures every cell of every frame, and took 2 % of a small run.
    """
    rows, columns = list(rows), fitting_columns(width)
    widths = [max([c.width, *(len(row.cells.get(c.key, "")) for row in rows)]) for c in columns]
    if sum(widths) + _GAP * len(columns) > width:
        widths = [column.width for column in columns]
    table = Text(no_wrap=True, overflow="crop")
    table.append(_line({column.key: column.header for column in columns}, columns, widths), "bold")
    for row in rows:
        table.append("\n")
        table.append(_line(row.cells, columns, widths), row.style)
    return table


def _line(cells: dict[str, str], columns: list[_Column], widths: list[int]) -> str:
    parts = []
    for column, width in zip(columns, widths, strict=True):
        cell = cells.get(column.key, "")
        cell = cell if len(cell) <= width else cell[: width - 1] + "…"
        parts.append(cell.ljust(width) if column.key == "note" else cell.rjust(width))
    return (" " * _GAP).join(parts)


def fitting_columns(width: int) -> list[_Column]:
    """Drop the least important columns until the rest fits."""
    columns = list(_COLUMNS)
    while sum(column.width + _GAP for column in columns) > width and len(columns) > 3:
        columns.remove(max(reversed(columns), key=lambda column: column.rank))
    return columns

"""The curves of a run and the marks on them, whatever draws them.

x is the iteration. Losses of different units never share a chart: where a log gives validation in bits per
byte (nanochat) it has a chart of its own. Colours are named by role; every drawer has its own palette.
"""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from nanogpt_cli.explain.records import Run
from nanogpt_cli.explain.report import ExplainedFinding, Explanation
from nanogpt_cli.explain.show.thin import Point

ChartName = Literal[
    "loss",
    "val_bpb",
    "time",
    "mfu",
    "lr",
    "grad_norm",
    "loss_by_iterations",
    "loss_by_tokens",
    "loss_by_seconds",
]

# Findings are marked where their numbers are seen.
_ON_CHART: Final[dict[str, ChartName]] = {
    "eval_time_spike": "time",
    "slow_first_iterations": "time",
    "time_drift": "time",
    "time_stall": "time",
    "mfu_impossible": "mfu",
    "low_mfu": "mfu",
    "lr_decayed_early": "lr",
    "lr_not_decayed": "lr",
}
# Remarks that point at something on a curve, and how many of their places are worth a mark; other remarks
# ("healthy") speak of the whole of it. Of a problem every place is wanted, within reason.
_MAX_MARKS: Final = 5
_POINTED_REMARKS: Final = {
    "eval_time_spike": 1,
    "slow_first_iterations": 1,
    "plateau": 1,
    "time_stall": _MAX_MARKS,
    "resumed": _MAX_MARKS,
    "loss_spike": _MAX_MARKS,
}
_LOSSES: Final = frozenset({"loss", "loss_by_iterations", "loss_by_tokens", "loss_by_seconds"})
# Beyond this ratio a linear axis shows one spike and a flat line.
_LOG_RATIO: Final = 30.0
_LOG_RATIO_TO_MEDIAN: Final = 8.0  # of times and norms, where the usual value is what a reader looks for
_LOG_CHARTS: Final = _LOSSES | {"time", "grad_norm"}
# GPT-2 falls from 10.9 to 4 in the first hundredths of a run and to 3 in the rest. Where the first twentieth
# would take two thirds of the picture or more, the axis ends at twice the height of what follows.
_DESCENT: Final = 0.05
_DESCENT_SHARE: Final = 3.0
_DESCENT_MIN_POINTS: Final = 15  # of fewer points each is worth seeing


@dataclass(frozen=True)
class Curve:
    """Points of one kind, in order of x; `name` is a key of the catalogue's [plot], or a run's name."""

    name: str
    points: tuple[Point, ...]
    role: int = 0  # its place in a palette
    dotted: bool = False  # few points, each worth seeing
    noisy: bool = False  # single batches: the trend matters, not the points


@dataclass(frozen=True)
class Mark:
    """A place on a chart: `number` is the finding's in the report, from 1; 0 is the best evaluation."""

    x: float
    y: float | None  # None: a vertical line
    number: int


@dataclass(frozen=True)
class Chart:
    """One pair of axes."""

    name: ChartName
    curves: tuple[Curve, ...]
    marks: tuple[Mark, ...] = ()

    @property
    def axis(self) -> str:
        """What x counts: iterations, tokens or seconds."""
        return self.name.removeprefix("loss_by_") if self.name.startswith("loss_by_") else "iterations"

    @cached_property
    def values(self) -> list[float]:
        """Every finite y."""
        return [y for curve in self.curves for _, y in curve.points if math.isfinite(y)]

    @cached_property
    def log_scale(self) -> bool:
        """Whether y spans too much for a linear axis."""
        values = self.values
        if self.name not in _LOG_CHARTS or not values or min(values) <= 0:
            return False
        if self.name in _LOSSES:
            return max(values) / min(values) > _LOG_RATIO
        return max(values) / statistics.median(values) > _LOG_RATIO_TO_MEDIAN

    @cached_property
    def top(self) -> float:
        """Where the axis of y ends: at the highest value, or below a steep first descent."""
        values = self.values
        high, low = max(values), min(values)
        if self.name not in _LOSSES or self.log_scale:
            return high
        first = min(curve.points[0][0] for curve in self.curves)
        last = max(curve.points[-1][0] for curve in self.curves)
        settled = first + _DESCENT * (last - first)
        later = [y for c in self.curves for x, y in c.points if x > settled and math.isfinite(y)]
        if len(later) < _DESCENT_MIN_POINTS:
            return high
        rest = max(later) - low
        return low + 2 * rest if high - low > _DESCENT_SHARE * rest > 0 else high


def charts(explanation: Explanation) -> tuple[Chart, ...]:
    """The charts that the log has data for, the loss first."""
    run = explanation.run
    drawn = [
        _loss(run),
        _val_bpb(run),
        _chart("time", "time", ((p.iter_num, p.time_ms) for p in run.iters)),
        _chart("mfu", "mfu", ((p.iter_num, None if p.mfu is None else 100 * p.mfu) for p in run.iters)),
        _chart("lr", "lr", _learning_rates(run)),
        _chart("grad_norm", "grad_norm", ((p.iter_num, p.grad_norm) for p in run.iters)),
    ]
    shown = [
        chart for chart in drawn if any(len(curve.points) > 1 for curve in chart.curves) and chart.values
    ]
    names = {chart.name for chart in shown}
    return tuple(Chart(chart.name, chart.curves, _marks(explanation, chart.name, names)) for chart in shown)


def iter_losses(run: Run) -> tuple[Point, ...]:
    """The training loss of every logged iteration."""
    return _points((p.iter_num, p.loss) for p in run.iters)


def val_losses(run: Run) -> tuple[Point, ...]:
    """The validation losses, in `run.val_unit`."""
    return _points((e.iter_num, e.val_loss) for e in run.evals)


def _loss(run: Run) -> Chart:
    curves = [
        Curve("train_iter", iter_losses(run), role=0, noisy=not run.smoothed),
        Curve("train_eval", _points((e.iter_num, e.train_loss) for e in run.evals), role=1, dotted=True),
    ]
    if run.val_unit == "nats":
        curves.append(Curve("val_eval", val_losses(run), role=2, dotted=True))
    return Chart("loss", tuple(curve for curve in curves if curve.points))


def _val_bpb(run: Run) -> Chart:
    points = val_losses(run) if run.val_unit == "bpb" else ()
    return Chart("val_bpb", (Curve("val_eval", points, role=2, dotted=True),) if points else ())


def _chart(name: ChartName, curve: str, values: Iterable[tuple[int, float | None]]) -> Chart:
    points = _points(values)
    return Chart(name, (Curve(curve, points, noisy=name in {"time", "grad_norm"}),) if points else ())


def _learning_rates(run: Run) -> Iterable[tuple[int, float | None]]:
    rates = {e.iter_num: e.lr for e in run.evals if e.lr is not None}
    rates |= {p.iter_num: p.lr for p in run.iters if p.lr is not None}
    return sorted(rates.items())


def _points(values: Iterable[tuple[int, float | None]]) -> tuple[Point, ...]:
    """Known values in order of x; infinities break a line as nan does."""
    known = [(float(x), y if math.isfinite(y) else math.nan) for x, y in values if y is not None]
    return tuple(sorted(known, key=lambda point: point[0]))


# --- marks


def _marks(explanation: Explanation, chart: ChartName, shown: set[ChartName]) -> tuple[Mark, ...]:
    marks = []
    best = explanation.run.best_eval
    if best is not None and chart == ("loss" if explanation.run.val_unit == "nats" else "val_bpb"):
        marks.append(Mark(best.iter_num, best.val_loss, 0))
    for number, finding in enumerate(explanation.findings, 1):
        if _chart_of(finding, shown) == chart:
            wanted = (
                _POINTED_REMARKS.get(finding.code, _MAX_MARKS) if finding.severity == "info" else _MAX_MARKS
            )
            marks += [Mark(x, None, number) for x in finding.iters[:wanted]]
    return tuple(marks)


def _chart_of(finding: ExplainedFinding, shown: set[ChartName]) -> ChartName | None:
    if finding.severity == "info" and finding.code not in _POINTED_REMARKS:
        return None
    wanted = _ON_CHART.get(finding.code, "loss")
    if wanted in shown:
        return wanted
    return next((name for name in ("loss", "val_bpb") if name in shown), None)

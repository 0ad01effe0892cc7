"""Who is better at equal cost: the losses of several runs after as many iterations, tokens and seconds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from nanogpt_cli.explain.progress import Axis, Point, along, first_at_most, value_at
from nanogpt_cli.explain.report import Explanation
from nanogpt_cli.explain.show.series import iter_losses, val_losses
from nanogpt_cli.explain.show.thin import medians

Metric = Literal["val", "train"]
AXES: Final[tuple[Axis, ...]] = ("iterations", "tokens", "seconds")

# Two runs that differ only in their seed end about 0.01 apart at 1.9 (measured for cpu-tiny): closer than
# this is no win.
TIE_RATIO: Final = 0.005
_TREND_COLUMNS: Final = 60
# A common evaluation is taken, without interpolating, if no more than this share of the way is given up.
_COMMON_SHARE: Final = 0.9


@dataclass(frozen=True)
class Standing:
    """The losses of a group's runs at one place."""

    axis: Axis | Literal["best"]
    x: float | None  # how far all of them came; None for the best of each
    losses: tuple[float, ...]  # in the group's order
    winner: int | None  # place in the group; None: too close to call


@dataclass(frozen=True)
class Group:
    """Runs whose losses mean the same."""

    members: tuple[int, ...]
    metric: Metric
    unit: str  # nats or bpb
    standings: tuple[Standing, ...]
    target: float | None  # a loss that all of them reached
    reached: dict[Axis, tuple[float, ...]]  # what each needed for it


def losses(explanation: Explanation, metric: Metric) -> tuple[Point, ...]:
    """The finite losses of a run over iterations."""
    if metric == "val":
        return tuple(point for point in val_losses(explanation.run) if math.isfinite(point[1]))
    points = [point for point in iter_losses(explanation.run) if math.isfinite(point[1])]
    return tuple(medians(points, _TREND_COLUMNS)) if len(points) > 2 * _TREND_COLUMNS else tuple(points)


def group(explanations: Sequence[Explanation], members: Sequence[int]) -> Group | None:
    """The standings of the members that have such losses; None for less than two."""
    for metric in ("val", "train"):
        able = tuple(i for i in members if len(losses(explanations[i], metric)) > 1)
        if len(able) < 2:
            continue
        curves = {axis: _curves([explanations[i] for i in able], metric, axis) for axis in AXES}
        found = [_equal(axis, curves[axis]) for axis in AXES]
        best = tuple(min(y for _, y in curve) for curve in curves["iterations"])
        standings = (_standing("best", None, best), *(standing for standing in found if standing is not None))
        target = max(best)
        reached = {axis: needed for axis in AXES if (needed := _needed(curves[axis], target))}
        unit = explanations[able[0]].run.val_unit if metric == "val" else "nats"
        return Group(able, metric, unit, standings, target, reached)
    return None


def _curves(explanations: Sequence[Explanation], metric: Metric, axis: Axis) -> list[tuple[Point, ...]]:
    return [along(e.log, e.run, losses(e, metric), axis) for e in explanations]


def _equal(axis: Axis, curves: Sequence[tuple[Point, ...]]) -> Standing | None:
    """The losses as far along `axis` as all of them came."""
    if any(len(curve) < 2 for curve in curves):
        return None
    x = min(curve[-1][0] for curve in curves)
    common = set.intersection(*({at for at, _ in curve if at <= x} for curve in curves))
    if common and max(common) >= _COMMON_SHARE * x:
        x = max(common)
    values = [value_at(curve, x) for curve in curves]
    known = tuple(value for value in values if value is not None)
    return _standing(axis, x, known) if len(known) == len(values) and x > 0 else None


def _standing(axis: Axis | Literal["best"], x: float | None, values: tuple[float, ...]) -> Standing:
    first, second = sorted(values)[:2]
    clear = second - first > TIE_RATIO * abs(first)
    return Standing(axis, x, values, values.index(first) if clear else None)


def _needed(curves: Sequence[tuple[Point, ...]], target: float) -> tuple[float, ...]:
    """How far each had to go for `target`; () where one of them does not tell."""
    found = [first_at_most(curve, target) for curve in curves]
    known = tuple(value for value in found if value is not None)
    return known if len(known) == len(curves) else ()

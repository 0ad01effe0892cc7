"""How far a run was at each iteration, in tokens and in seconds: what makes two runs comparable.

Logged times are samples. An iteration between two lines took the usual time; what a sample has beyond that
(an evaluation, compilation) happened once. Our own times are means since the line before, evaluations apart.
"""

import bisect
import math
from collections.abc import Sequence
from typing import Literal

from nanogpt_cli.explain.case import Case
from nanogpt_cli.explain.records import Log, Run

Axis = Literal["iterations", "tokens", "seconds"]
Point = tuple[float, float]


def along(log: Log, run: Run, points: Sequence[Point], axis: Axis) -> tuple[Point, ...]:
    """Points over iterations as points over another axis; () where the log does not tell it."""
    if axis == "iterations":
        return tuple(points)
    if axis == "tokens":
        return tuple((x * run.tokens_per_iter, y) for x, y in points) if run.tokens_per_iter else ()
    clock = seconds(log, run)
    if not clock:
        return ()
    return tuple((at, y) for x, y in points if (at := value_at(clock, x)) is not None)


def seconds(log: Log, run: Run) -> tuple[Point, ...]:
    """(iteration, seconds since the run's first line), growing; () where no times are logged."""
    median = Case(log=log, run=run).median_ms
    timed = [(p.iter_num, p.time_ms) for p in run.iters if p.time_ms is not None and math.isfinite(p.time_ms)]
    if median is None or not timed:
        return ()
    evaluations = sorted((e.iter_num, e.eval_ms) for e in run.evals if e.eval_ms is not None)
    clock: list[Point] = []
    before, elapsed_ms, evaluated = timed[0][0] - 1, 0.0, 0
    for iter_num, time_ms in timed:
        gap = max(1, iter_num - before)
        elapsed_ms += gap * time_ms if run.trainer == "ours" else (gap - 1) * median + time_ms
        while evaluated < len(evaluations) and evaluations[evaluated][0] <= iter_num:
            elapsed_ms += evaluations[evaluated][1]
            evaluated += 1
        clock.append((iter_num, elapsed_ms / 1000))
        before = iter_num
    # What was done before the first line costs nothing here, and what follows the last goes on at its pace.
    last_eval = max((e.iter_num for e in run.evals), default=before)
    if last_eval > before:
        clock.append((last_eval, clock[-1][1] + (last_eval - before) * median / 1000))
    if clock[0][0] > 0 and run.evals and run.evals[0].iter_num < clock[0][0]:
        clock.insert(0, (run.evals[0].iter_num, 0.0))
    return tuple(clock)


def value_at(points: Sequence[Point], x: float) -> float | None:
    """y at `x`, straight between the neighbours; None outside the points or beside one that is not finite."""
    position = bisect.bisect_left(points, x, key=lambda point: point[0])
    if position < len(points) and points[position][0] == x:
        y = points[position][1]
        return y if math.isfinite(y) else None
    if position in (0, len(points)):
        return None
    (x0, y0), (x1, y1) = points[position - 1], points[position]
    y = y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return y if math.isfinite(y) else None


def first_at_most(points: Sequence[Point], target: float) -> float | None:
    """Where y first comes down to `target`, straight between the neighbours."""
    for i, (x, y) in enumerate(points):
        if not y <= target:
            continue
        if i == 0 or not math.isfinite(points[i - 1][1]):
            return x
        x0, y0 = points[i - 1]
        return x0 + (x - x0) * (y0 - target) / (y0 - y)
    return None

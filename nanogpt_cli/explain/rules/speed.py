"""Rules for times: most explain a number that frightens and is harmless."""

import itertools
import math
import statistics
from typing import Final

from nanogpt_cli.explain.case import Case, Finding
from nanogpt_cli.explain.records import IterPoint
from nanogpt_cli.explain.scatter import spread

# An evaluation of 2 · eval_iters forward passes costs many iterations; below twice the usual time the line
# would not strike anybody.
_SPIKE_RATIO: Final = 2.0
# Compilation, CUDA start-up and memory allocation take seconds; three times is beyond scatter.
_FIRST_RATIO: Final = 3.0
# Worth a word from a fifth of the time on, and only where at least two evaluations show it.
_COSTLY_SHARE: Final = 0.2
_COSTLY_MIN_SPIKES: Final = 2
_AVERAGE_MIN_MFU: Final = 0.005  # below, the printed two digits show nothing of the average
_AVERAGE_TOLERANCE: Final = 0.001  # 0.1 percentage points: both numbers are rounded, the usual time varies

# A machine's speed wanders by 3 to 5 %; 15 % that comes and stays, well beyond the scatter, has a cause.
_DRIFT_RATIO: Final = 1.15
_DRIFT_DEVIATIONS: Final = 4.0
_DRIFT_PARTS: Final = 6
_DRIFT_MIN_POINTS: Final = 60
_DRIFT_MIN_RISES: Final = 4  # of the five steps between the parts
_DRIFT_STEP_SHARE: Final = 0.75

# Five times the usual and at least half a second more, three times over or at the price of 2 % of the time.
_STALL_RATIO: Final = 5.0
_STALL_MIN_MS: Final = 500.0
_STALL_MIN_COUNT: Final = 3
_STALL_MIN_POINTS: Final = 30
_STALL_SHARE: Final = 0.02
_STALL_MAX_SHARE: Final = 0.2  # more than that is no exception


def eval_time_spike(case: Case) -> Finding | None:
    """nanoGPT's line after an evaluation contains the evaluation's time, and drags its MFU average down."""
    median = case.median_ms
    if not case.run.nanogpt_habits or not median:
        return None
    starts = case.start_iters
    slow = [
        (before, p)
        for before, p in zip(case.run.iters, case.run.iters[1:], strict=False)
        if p.iter_num in case.eval_iters
        and p.iter_num not in starts
        and _finite(p.time_ms) >= _SPIKE_RATIO * median
    ]
    if not slow:
        return None
    before, last = slow[-1]
    extra = sum(_finite(p.time_ms) - median for _, p in slow)
    share = extra / (extra + median * max(case.span, 1))
    numbers: dict[str, int | float | str] = {
        "iter": last.iter_num,
        "time_ms": _finite(last.time_ms),
        "median_ms": median,
        "extra_ms": _finite(last.time_ms) - median,
        "n_spikes": len(slow),
        "share_percent": 100 * share,
    }
    variants = []
    average = _mfu_average(before, last, median)
    if average is not None:
        variants.append("mfu")
        numbers |= average
    if len(slow) >= _COSTLY_MIN_SPIKES and share >= _COSTLY_SHARE:
        variants.append("costly")
    return Finding(
        code="eval_time_spike",
        severity="info",
        iters=tuple(p.iter_num for _, p in slow[-10:]),
        confidence=0.95,
        numbers=numbers,
        variant="_".join(variants),
    )


def _mfu_average(before: IterPoint, point: IterPoint, median_ms: float) -> dict[str, float] | None:
    """This line's own MFU, worked out from the usual one, and the 0.9/0.1 average it goes into.

    None where the printed MFU is not that average: lines are missing, or a fork computes it otherwise.
    """
    if before.mfu is None or point.mfu is None or before.mfu < _AVERAGE_MIN_MFU:
        return None
    own = before.mfu * median_ms / _finite(point.time_ms)
    expected = 0.9 * before.mfu + 0.1 * own
    if abs(expected - point.mfu) > _AVERAGE_TOLERANCE:
        return None
    return {
        "mfu_before_percent": 100 * before.mfu,
        "mfu_percent": 100 * point.mfu,
        "mfu_own_percent": 100 * own,
        "mfu_expected_percent": 100 * expected,
    }


def slow_first_iterations(case: Case) -> Finding | None:
    """The first iteration of a process compiles, allocates, and in nanoGPT evaluates too."""
    median = case.median_ms
    if not median or len(case.ordinary_times_ms) < 3:
        return None
    starts = case.start_iters
    slow = [p for p in case.run.iters if p.iter_num in starts and _finite(p.time_ms) >= _FIRST_RATIO * median]
    if not slow:
        return None
    with_eval = case.run.nanogpt_habits and slow[0].iter_num in case.eval_iters
    return Finding(
        code="slow_first_iterations",
        severity="info",
        iters=tuple(p.iter_num for p in slow),
        confidence=0.9,
        numbers={
            "iter": slow[0].iter_num,
            "time_ms": _finite(slow[0].time_ms),
            "median_ms": median,
            "times": _finite(slow[0].time_ms) / median,
        },
        variant="with_eval" if with_eval else "",
    )


def time_drift(case: Case) -> Finding | None:
    """Iterations that get slower and slower, or are slower from some point on."""
    points = case.ordinary_points_ms
    # modded-nanogpt's runs lengthen their batches and attention windows by design.
    if len(points) < _DRIFT_MIN_POINTS or case.run.trainer == "modded-nanogpt":
        return None
    size = len(points) // _DRIFT_PARTS
    parts = [[ms for _, ms in points[i * size : (i + 1) * size]] for i in range(_DRIFT_PARTS)]
    usual = [statistics.median(part) for part in parts]
    first, last = min(usual[:2]), min(usual[-2:])
    if last < _DRIFT_RATIO * first or last - first < _DRIFT_DEVIATIONS * spread(parts[0]):
        return None
    steps = list(itertools.pairwise(usual))
    jump = max(steps, key=lambda pair: pair[1] / pair[0])
    # One step carries nearly all of it, and the rest stays as it is: something else began at that point.
    sudden = jump[1] - jump[0] > _DRIFT_STEP_SHARE * (max(usual) - first)
    if not sudden and sum(b > a for a, b in steps) < _DRIFT_MIN_RISES:
        return None
    at = points[size * (steps.index(jump) + 1)][0]
    return Finding(
        code="time_drift",
        severity="warning",
        iters=(at,) if sudden else (points[0][0], points[-1][0]),
        confidence=0.8,
        numbers={
            "first_ms": usual[0],
            "last_ms": usual[-1],
            "slower_percent": 100 * (usual[-1] / usual[0] - 1),
            "iter": at,
            "last_iter": points[-1][0],
        },
        variant="sudden" if sudden else "",
    )


def time_stall(case: Case) -> Finding | None:
    """Single iterations of many times the usual time, without an evaluation or a start to explain it."""
    points, median = case.ordinary_points_ms, case.median_ms
    if median is None or median <= 0 or len(points) < _STALL_MIN_POINTS:
        return None
    saved = set(case.run.checkpoints)
    long = [(i, ms) for i, ms in points if ms >= _STALL_RATIO * median and ms - median >= _STALL_MIN_MS]
    stalls = [(i, ms) for i, ms in long if i not in saved]
    if not stalls or len(stalls) > _STALL_MAX_SHARE * len(points):
        return None
    lost = sum(ms - median for _, ms in stalls)
    total = sum(ms for _, ms in points)
    if len(stalls) < _STALL_MIN_COUNT and lost < _STALL_SHARE * total:
        return None
    worst = max(stalls, key=lambda point: point[1])
    period = _period([i for i, _ in stalls])
    return Finding(
        code="time_stall",
        severity="info" if period or lost < _STALL_SHARE * total else "warning",
        iters=tuple(i for i, _ in stalls[:10]),
        confidence=0.75,
        numbers={
            "n_stalls": len(stalls),
            "iter": worst[0],
            "time_ms": worst[1],
            "median_ms": median,
            "times": worst[1] / median,
            "period": period,
        },
        variant="periodic" if period else "",
    )


def _period(iters: list[int]) -> int:
    """The distance that nearly all neighbours have, else 0."""
    gaps = [b - a for a, b in itertools.pairwise(iters)]
    if len(gaps) < 2:
        return 0
    usual = int(statistics.median_low(gaps))
    # A stall that was not logged leaves a gap of twice the distance.
    fitting = sum(usual > 0 and gap % usual == 0 for gap in gaps)
    return usual if fitting >= 0.8 * len(gaps) else 0


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0

"""Rules for times and MFU: nearly all explain a number that frightens and is harmless."""

import math
from typing import Final

from nanogpt_cli.explain.case import Case, Finding
from nanogpt_cli.explain.records import IterPoint

# An evaluation of 2 · eval_iters forward passes costs many iterations; below twice the usual time the line
# would not strike anybody.
_SPIKE_RATIO: Final = 2.0
# Compilation, CUDA start-up and memory allocation take seconds; three times is beyond scatter.
_FIRST_RATIO: Final = 3.0
# Worth a word from a fifth of the time on, and only where at least two evaluations show it.
_COSTLY_SHARE: Final = 0.2
_COSTLY_MIN_SPIKES: Final = 2
_AVERAGE_TOLERANCE: Final = 0.001  # 0.1 percentage points: both numbers are rounded, the usual time varies
# nanoGPT on an unknown device below this: an A100 reaches 0.5 % even with a model of 0.8 million parameters.
_UNKNOWN_DEVICE_MFU: Final = 0.003
_NOT_AN_A100: Final = ("cpu", "mps")


def eval_time_spike(case: Case) -> Finding | None:
    """nanoGPT's line after an evaluation contains the evaluation's time, and drags its MFU average down."""
    median = case.median_ms
    if not case.run.nanogpt_habits or not median:
        return None
    starts = set(case.run.process_starts)
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
    if before.mfu is None or point.mfu is None:
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
    starts = set(case.run.process_starts)
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


def mfu_not_measured_yet(case: Case) -> Finding | None:
    """-100.00 % is nanoGPT's starting value, printed until five iterations of the process have passed."""
    pending = [p.iter_num for p in case.run.iters if p.mfu_pending]
    if not pending:
        return None
    return Finding(
        code="mfu_not_measured_yet",
        severity="info",
        iters=tuple(pending[:10]),
        numbers={"n_lines": len(pending), "iter": pending[0]},
    )


def mfu_reference_device(case: Case) -> Finding | None:
    """nanoGPT divides by an A100's peak on every device, so a CPU shows some 0.0x %."""
    measured = [p.mfu for p in case.run.iters if p.mfu is not None and math.isfinite(p.mfu)]
    if not case.run.nanogpt_habits or not measured:
        return None
    device = str(case.run.config.get("device", ""))
    highest = max(measured)
    known = device.split(":")[0] in _NOT_AN_A100
    if not known and (device or highest >= _UNKNOWN_DEVICE_MFU):
        return None
    return Finding(
        code="mfu_reference_device",
        severity="info",
        iters=(case.run.iters[-1].iter_num,),
        confidence=0.95 if known else 0.6,
        numbers={"mfu_percent": 100 * measured[-1], "device": device or "cpu"},
        variant="" if known else "unknown_device",
    )


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0

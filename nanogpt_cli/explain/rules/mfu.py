"""Rules for MFU, the share of a device's peak arithmetic a training uses: of which device, and how much."""

import math
import statistics
from typing import Final

from nanogpt_cli.accelerators import peak_flops
from nanogpt_cli.explain.case import A100_PEAK_FLOPS, Case, Finding

# nanoGPT on an unknown device below this: an A100 reaches 0.5 % even with a model of 0.8 million parameters.
_UNKNOWN_DEVICE_MFU: Final = 0.003
_NOT_AN_A100: Final = ("cpu", "mps")
# Hand-written GPT training reaches 50 to 60 % on an A100 and 45 to 55 % on an H100. More than 80 % of an A100
# is a faster device (an H100 has 989 TFLOP/s, 3.2 times as much); of the device's own peak it cannot be.
_OVER_A100: Final = 0.8
_OVER_OWN: Final = 0.85
_IMPOSSIBLE_OF_A100: Final = 7.5  # a B200's 2,250 TFLOP/s are 7.2 A100s
# GPUs that wait for memory, kernels or data stay below a tenth; a model under a few million parameters can
# not do better, so it is not told.
_LOW: Final = 0.1
_LOW_MIN_PARAMS: Final = 5e6
_LOW_MIN_POINTS: Final = 10
_T4_SHARE: Final = A100_PEAK_FLOPS / peak_flops("T4", "float16")
_H100_SHARE: Final = A100_PEAK_FLOPS / peak_flops("H100", "bfloat16")


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
    measured = case.measured_mfu
    if not case.run.nanogpt_habits or not measured:
        return None
    device = str(case.run.config.get("device", ""))
    known = device.split(":")[0] in _NOT_AN_A100
    if not known and (device or max(measured) >= _UNKNOWN_DEVICE_MFU):
        return None
    return Finding(
        code="mfu_reference_device",
        severity="info",
        iters=(case.run.iters[-1].iter_num,),
        confidence=0.95 if known else 0.6,
        numbers={"mfu_percent": 100 * measured[-1], "device": device or "cpu"},
        variant="" if known else "unknown_device",
    )


def mfu_impossible(case: Case) -> Finding | None:
    """More than the device it is measured against can do."""
    measured = case.measured_mfu
    if not measured:
        return None
    usual = statistics.median(measured)
    if usual < (_OVER_A100 if case.run.nanogpt_habits else _OVER_OWN):
        return None
    faster = case.run.nanogpt_habits and usual < _IMPOSSIBLE_OF_A100
    return Finding(
        code="mfu_impossible",
        severity="info" if faster else "warning",
        iters=(case.run.iters[-1].iter_num,),
        confidence=0.85,
        numbers={"mfu_percent": 100 * usual, "h100_percent": 100 * usual * _H100_SHARE},
        variant="faster_device" if faster else "",
    )


def low_mfu(case: Case) -> Finding | None:
    """A GPU that mostly waits, or is no A100."""
    measured = case.measured_mfu
    device = case.run.device or str(case.run.config.get("device", ""))
    if len(measured) < _LOW_MIN_POINTS or device.split(" ")[0].split(":")[0] in _NOT_AN_A100:
        return None
    usual = statistics.median(measured)
    if usual >= _LOW or (case.run.n_params or math.inf) < _LOW_MIN_PARAMS:
        return None
    if case.run.nanogpt_habits and usual < _UNKNOWN_DEVICE_MFU and not device:
        return None  # more likely a CPU, which mfu_reference_device tells
    return Finding(
        code="low_mfu",
        severity="info",
        iters=(case.run.iters[-1].iter_num,),
        confidence=0.7,
        numbers={"mfu_percent": 100 * usual, "t4_percent": 100 * usual * _T4_SHARE},
        variant="of_an_a100" if case.run.nanogpt_habits else "",
    )

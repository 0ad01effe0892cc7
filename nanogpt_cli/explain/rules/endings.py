"""Rules for how a log ends: finished, stopped, crashed, cut off; or never was a training log."""

import re
from typing import Final

from nanogpt_cli.explain.case import Case, Finding, Number
from nanogpt_cli.explain.crashes import cause_of
from nanogpt_cli.explain.records import Failure

_OUT_OF_MEMORY: Final = "OutOfMemoryError"
_SIGNALS: Final = frozenset({"KeyboardInterrupt", "SIGINT", "SIGTERM", "SIGHUP", "SIGKILL", "SIGQUIT"})
_MEMORY: Final = re.compile(r"Tried to allocate ([\d.]+ [KMGT]i?B)")
_CAPACITY: Final = re.compile(r"total capacity of ([\d.]+ [KMGT]i?B)")
# torchrun's own exception only says that a worker failed; the worker's is the one to explain.
_MESSENGERS: Final = ("ChildFailedError", "SignalException", "ProcessRaisedException")


def empty(case: Case) -> Finding | None:
    """Nothing but blank lines."""
    if case.log.n_text_lines:
        return None
    return Finding(code="empty", severity="error")


def not_a_training_log(case: Case) -> Finding | None:
    """Text without a single line of a training."""
    if not case.log.n_text_lines or _anything(case) or case.log.relative:
        return None
    return Finding(code="not_a_training_log", severity="error", numbers={"n_lines": case.log.n_text_lines})


def unsupported_format(case: Case) -> Finding | None:
    """Another trainer's log, which is recognised but not read yet."""
    if not case.log.relative or _anything(case):
        return None
    return Finding(
        code="unsupported_format",
        severity="error",
        confidence=0.9,
        numbers={"trainer": case.log.relative, "n_lines": case.log.n_text_lines},
    )


def header_only(case: Case) -> Finding | None:
    """A run was set up, and then nothing."""
    if case.run.has_points or not case.run.header_seen or case.run.failures or case.run.ending:
        return None
    return Finding(code="header_only", severity="warning", confidence=0.9)


def out_of_memory(case: Case) -> Finding | None:
    """The device's memory ran out."""
    failure = next((f for f in case.run.failures if f.exception.endswith(_OUT_OF_MEMORY)), None)
    if failure is None:
        return None
    numbers: dict[str, Number] = {}
    wanted, capacity = _MEMORY.search(failure.message), _CAPACITY.search(failure.message)
    if wanted and capacity:
        numbers |= {"wanted": wanted[1], "capacity": capacity[1]}
    batch, accumulation = case.setting("batch_size"), case.setting("gradient_accumulation_steps")
    if batch is not None and accumulation is not None and batch >= 2:
        numbers |= {
            "batch_size": int(batch),
            "half_batch": int(batch // 2),
            "accumulation": int(accumulation),
            "double_accumulation": int(2 * accumulation),
        }
    names = ("sizes",) * ("wanted" in numbers) + ("batch",) * ("batch_size" in numbers)
    return Finding(
        code="out_of_memory",
        severity="error",
        iters=_last_iters(case),
        numbers=numbers,
        variant="_".join(names),
    )


def crashed(case: Case) -> Finding | None:
    """An exception ended the run; its usual cause and cure, if it is a known one."""
    failures = [f for f in case.run.failures if f.exception not in _SIGNALS]
    failures = [f for f in failures if not f.exception.endswith(_MESSENGERS)]
    if not failures:
        return None
    known = [(f, cause) for f in failures if (cause := cause_of(f))]
    failure, cause = known[0] if known else (failures[0], "")
    return Finding(
        code="crashed",
        severity="error",
        iters=_last_iters(case),
        confidence=0.9 if cause else 0.8,
        numbers={
            "exception": failure.exception.rsplit(".", 1)[-1],
            "message": _one_line(failure),
        },
        variant=cause,
    )


def interrupted(case: Case) -> Finding | None:
    """Somebody or something stopped the run: Ctrl-C, a job's time limit, kill."""
    reason = case.run.ending.reason if case.run.ending else ""
    if reason not in _SIGNALS:
        reason = next((f.exception for f in case.run.failures if f.exception in _SIGNALS), "")
    if not reason:
        return None
    variant = {"KeyboardInterrupt": "ctrl_c", "SIGINT": "ctrl_c", "SIGKILL": "killed"}.get(reason, "")
    return Finding(
        code="interrupted",
        severity="info" if variant == "ctrl_c" else "warning",
        iters=_last_iters(case),
        numbers={"signal": reason, "last_iter": _done(case)},
        variant=variant,
    )


def finished(case: Case) -> Finding | None:
    """The run reached its end."""
    last, target = case.run.last_iter, case.setting("max_iters")
    if last is None or case.run.failures:
        return None
    if case.run.ending is not None:
        if case.run.ending.reason not in {"finished", "eval_only"}:
            return None
        return Finding(
            code="finished",
            severity="info",
            iters=(last,),
            numbers={"last_iter": _done(case)},
            variant="ours",
        )
    if target is None or last <= target - max(1, case.setting("log_interval") or 1):
        return None
    return Finding(
        code="finished",
        severity="info",
        iters=(last,),
        confidence=0.95,
        numbers={"last_iter": last, "max_iters": int(target)},
    )


def truncated(case: Case) -> Finding | None:
    """The log stops without a word before the run's end."""
    last = case.run.last_iter
    if last is None or case.run.failures or case.run.ending or finished(case):
        return None
    target = case.setting("max_iters")
    if target is not None:
        return Finding(
            code="truncated",
            severity="warning",
            iters=(last,),
            confidence=0.9,
            numbers={"last_iter": last, "max_iters": int(target)},
        )
    # max_iters is unknown. nanoGPT's last iteration is nearly always a multiple of eval_interval, so a log
    # that ends between two evaluations was cut off, still runs, or is an excerpt.
    evals = sorted(case.eval_iters)
    if len(evals) < 3 or last == evals[-1]:
        return None
    interval = evals[-1] - evals[-2]
    return Finding(
        code="truncated",
        severity="info",
        iters=(last,),
        confidence=0.7,
        numbers={"last_iter": last, "eval_interval": interval, "last_eval_iter": evals[-1]},
        variant="between_evals",
    )


def _done(case: Case) -> int:
    """Iterations done: what our own ending says, else the last one logged."""
    if case.run.ending is not None and case.run.ending.iters is not None:
        return case.run.ending.iters
    return case.run.last_iter or 0


def _anything(case: Case) -> bool:
    return case.log.format != "unknown" or any(run.failures for run in case.log.runs)


def _last_iters(case: Case) -> tuple[int, ...]:
    return () if case.run.last_iter is None else (case.run.last_iter,)


def _one_line(failure: Failure) -> str:
    text = failure.message or failure.location or failure.exception
    return text if len(text) <= 160 else text[:157] + "..."

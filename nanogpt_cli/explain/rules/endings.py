"""Rules for how a log ends: finished, stopped, crashed, cut off; or never was a training log."""

import re
from typing import Final

from nanogpt_cli.explain.case import Case, Finding, Number
from nanogpt_cli.explain.crashes import cause_of, is_disk_full
from nanogpt_cli.explain.records import Failure

_OUT_OF_MEMORY: Final = "OutOfMemoryError"
_FAULTS: Final = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE")
_SIGNALS: Final = frozenset(
    {"KeyboardInterrupt", "SIGINT", "SIGTERM", "SIGHUP", "SIGKILL", "SIGQUIT", *_FAULTS}
)
_AMOUNT: Final = r"(\d+(?:\.\d+)? [KMGT]i?B)"
_SIZES: Final = {
    "wanted": re.compile(rf"Tried to allocate {_AMOUNT}"),
    "capacity": re.compile(rf"total capacity of {_AMOUNT}|{_AMOUNT} total capacity"),
    "free": re.compile(rf"of which {_AMOUNT} is free|{_AMOUNT} free"),
    "held": re.compile(rf"this process has {_AMOUNT} memory in use"),
}
# Below this share of what is taken, most of the memory is somebody else's.
_OWN_SHARE: Final = 0.6
_TENSOR: Final = re.compile(r"\((\d{1,6}), (\d{1,7}), (\d{1,7})\), \([^)]*\), torch\.float32")
_VOCAB_MIN: Final = 5_000  # a last size this large is a vocabulary, no layer's width
_MAIN_MEMORY: Final = re.compile(r"DefaultCPUAllocator|oom-kill|Cannot allocate memory", re.IGNORECASE)
# torchrun's own exception only says that a worker failed; the worker's is the one to explain.
_END_MIN_EVALS: Final = 3  # fewer do not show the interval
_MESSENGERS: Final = ("ChildFailedError", "SignalException", "ProcessRaisedException")


def empty(case: Case) -> Finding | None:
    """Nothing but blank lines."""
    if case.log.n_text_lines:
        return None
    return Finding(code="empty", severity="error")


def not_a_training_log(case: Case) -> Finding | None:
    """Text without a single line of a training."""
    if not case.log.n_text_lines or _anything(case):
        return None
    return Finding(code="not_a_training_log", severity="error", numbers={"n_lines": case.log.n_text_lines})


def header_only(case: Case) -> Finding | None:
    """A run was set up, and then nothing."""
    if case.run.has_points or not case.run.header_seen or case.run.failures or case.run.ending:
        return None
    return Finding(code="header_only", severity="warning", confidence=0.9)


def out_of_memory(case: Case) -> Finding | None:
    """The device's memory ran out; or the machine's own."""
    failure = next((f for f in case.run.failures if f.exception.endswith(_OUT_OF_MEMORY)), None)
    if failure is None:
        return None
    variant, numbers = _memory_story(case, failure)
    return Finding(
        code="out_of_memory",
        severity="error",
        iters=_last_iters(case),
        numbers=numbers,
        variant=variant,
    )


def _memory_story(case: Case, failure: Failure) -> tuple[str, dict[str, Number]]:
    """The most telling wording the log has numbers for, and these."""
    if _MAIN_MEMORY.search(failure.message):
        return "main_memory", {}
    numbers: dict[str, Number] = {
        name: found[1] or found[found.lastindex or 1]
        for name, pattern in _SIZES.items()
        if (found := pattern.search(failure.message))
    }
    if {"wanted", "capacity", "free"} <= numbers.keys():
        if logits := _logits(failure, str(numbers["wanted"])):
            return "logits", numbers | logits
        held, capacity = _gib(str(numbers.get("held", ""))), _gib(str(numbers["capacity"]))
        if held and held < _OWN_SHARE * (capacity - _gib(str(numbers["free"]))):
            return "shared", numbers
    batch, accumulation = case.setting("batch_size"), case.setting("gradient_accumulation_steps")
    if batch is not None and accumulation is not None and batch >= 2:
        numbers |= {
            "batch_size": int(batch),
            "half_batch": int(batch // 2),
            "accumulation": int(accumulation),
            "double_accumulation": int(2 * accumulation),
        }
    sized = {"wanted", "capacity"} <= numbers.keys()
    return "_".join(("sizes",) * sized + ("batch",) * ("batch_size" in numbers)), numbers


def _logits(failure: Failure, wanted: str) -> dict[str, Number]:
    """Batch, block and vocabulary, if the tensor that did not fit is (batch, block, vocab) in float32."""
    found = _TENSOR.search(failure.location)
    if found is None:
        return {}
    rows, block, vocab = (int(size) for size in found.groups())
    gib = rows * block * vocab * 4 / 2**30
    if vocab < _VOCAB_MIN or rows < 2 or abs(gib - _gib(wanted)) > 0.02 * gib:
        return {}
    return {
        "rows": rows,
        "half_rows": rows // 2,
        "block": block,
        "vocab": vocab,
        "half_wanted": f"{gib / 2:.2f} GiB",
    }


def _gib(text: str) -> float:
    """`6.14 GiB` or `512.00 MiB` in GiB; 0 for anything else."""
    found = re.fullmatch(r"([\d.]+) ([KMGT])i?B", text)
    return float(found[1]) * 1024.0 ** ("KMGT".index(found[2]) - 2) if found else 0.0


def crashed(case: Case) -> Finding | None:
    """An exception ended the run; its usual cause and cure, if it is a known one."""
    failures = [f for f in case.run.failures if f.exception not in _SIGNALS]
    failures = [f for f in failures if not f.exception.endswith(_MESSENGERS) and not is_disk_full(f)]
    failures = [f for f in failures if not f.exception.endswith(_OUT_OF_MEMORY)]
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


def disk_full(case: Case) -> Finding | None:
    """There was no room for what was to be written, most often a checkpoint."""
    failure = next((f for f in case.run.failures if is_disk_full(f)), None)
    if failure is None:
        return None
    kept = max(case.run.checkpoints, default=None)
    # The line "saving checkpoint" comes before the writing: the last one announced is the one that failed.
    return Finding(
        code="disk_full",
        severity="error",
        iters=_last_iters(case),
        confidence=0.9,
        numbers={
            "exception": failure.exception.rsplit(".", 1)[-1],
            "message": _one_line(failure),
            "saving_iter": kept or 0,
            "checkpoint_gb": 12 * (case.run.n_params or 0) / 1e9,
        },
        variant="checkpoint" if kept and case.run.nanogpt_habits and case.run.n_params else "",
    )


def interrupted(case: Case) -> Finding | None:
    """Somebody or something stopped the run: Ctrl-C, a job's time limit, kill."""
    reason = case.run.ending.reason if case.run.ending else ""
    if reason not in _SIGNALS:
        reason = next((f.exception for f in case.run.failures if f.exception in _SIGNALS), "")
    if not reason:
        return None
    variant = {"KeyboardInterrupt": "ctrl_c", "SIGINT": "ctrl_c", "SIGKILL": "killed"}.get(reason, "")
    if reason in _FAULTS:
        variant = "segfault"
    return Finding(
        code="interrupted",
        severity="info" if variant == "ctrl_c" else "warning",
        iters=_last_iters(case),
        numbers={"signal": reason, "last_iter": _done(case)},
        variant=variant,
    )


def finished(case: Case) -> Finding | None:
    """The run reached its end."""
    last = case.run.last_iter
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
            variant="ours" if case.ours else "said",
        )
    if case.reached_end:
        variant = "" if case.run.nanogpt_habits or case.ours else "planned"
        return Finding(
            code="finished",
            severity="info",
            iters=(last,),
            confidence=0.95,
            numbers={"last_iter": last, "max_iters": case.target or 0},
            variant=variant if case.target is not None else "said",
        )
    if case.target is not None or not _ends_with_eval(case):
        return None
    return Finding(
        code="finished",
        severity="info",
        iters=(last,),
        confidence=0.6,
        numbers={"last_iter": last},
        variant="probably",
    )


def _ends_with_eval(case: Case) -> bool:
    """Whether the last iteration shown is an evaluation's, as at the end of nearly every finished run."""
    evals = sorted(case.eval_iters)
    return len(evals) >= _END_MIN_EVALS and case.run.last_iter == evals[-1] and bool(case.run.iters)


def truncated(case: Case) -> Finding | None:
    """The log stops without a word before the run's end."""
    last = case.run.last_iter
    if last is None or case.run.failures or case.run.ending or finished(case):
        return None
    target = case.target
    if target is not None:
        return Finding(
            code="truncated",
            severity="warning",
            iters=(last,),
            confidence=0.9,
            numbers={"last_iter": last, "max_iters": target, "done_percent": 100 * last / target},
        )
    # max_iters is unknown. nanoGPT's last iteration is nearly always a multiple of eval_interval, so a log
    # that ends between two evaluations was cut off, still runs, or is an excerpt.
    evals = sorted(case.eval_iters)
    if len(evals) < _END_MIN_EVALS or last == evals[-1]:
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

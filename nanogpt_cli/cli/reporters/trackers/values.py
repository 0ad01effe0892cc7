"""What the trackers are told of an event: names and numbers, the same for each of them.

`iter`, `train/loss`, `val/loss`, `lr` and `mfu` (in percent) are those that nanoGPT sends to wandb, so that
its runs and ours lie in one chart. As there, train/loss is the evaluation's estimate; the mean of the batches
trained on is `train/interval_loss`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nanogpt_cli import events

# What happens at one iteration, in this order: a log line comes when the iteration is done.
_ORDER: Final = {"eval": 0, "sample": 1, "step": 2}


@dataclass(frozen=True, order=True)
class Moment:
    """A point of a run's course: an iteration, and how far it had come."""

    step: int
    part: int


def moment_of(event: events.Event) -> Moment | None:
    """When an event that is tracked happens; None for all others."""
    match event:
        case events.EvalDone():
            return Moment(event.iter_num, _ORDER["eval"])
        case events.StepLogged():
            return Moment(event.iter_num, _ORDER["step"])
    return None


def values_of(event: events.Event) -> dict[str, float]:
    """The numbers of one event; none for those that are not tracked. What is unknown is left out."""
    found: dict[str, float | None] = {}
    match event:
        case events.EvalDone():
            found = {
                "iter": event.iter_num,
                "train/loss": event.train_loss,
                "val/loss": event.val_loss,
                "lr": event.lr,
            }
        case events.StepLogged():
            found = {
                "iter": event.iter_num,
                "train/interval_loss": event.loss,
                "lr": event.lr,
                "mfu": None if event.mfu is None else 100 * event.mfu,
                "grad_norm": event.grad_norm,
                "clipped": event.clipped,
                "ms_per_iter": event.step_ms,
                "tokens_per_second": event.tokens_per_second,
                "tokens": event.tokens_seen,
                "epochs": event.epochs,
            }
    return {name: value for name, value in found.items() if value is not None}


def summary_of(event: events.RunEnded) -> dict[str, float | str]:
    """What stands beside a run's name once it is over."""
    found: dict[str, float | str | None] = {
        "reason": event.reason,
        "iters": event.iters,
        "final_val_loss": event.final_val_loss,
        "best_val_loss": event.best_val_loss,
        "best_val_iter": event.best_val_iter,
        "median_ms_per_iter": event.median_ms_per_iter,
        "tokens_per_second": event.tokens_per_second,
        "mfu": None if event.mfu is None else 100 * event.mfu,
        "epochs": event.epochs,
        "peak_memory_bytes": event.peak_memory_bytes,
        "wall_seconds": event.wall_seconds,
    }
    return {name: value for name, value in found.items() if value is not None}


# --- What a run that is resumed has told already


def last_recorded(metrics: Path) -> Moment | None:
    """How far the records of a run reach; None where there are none."""
    moments = (
        Moment(record["step"], _ORDER[record["event"]])
        for record in _records(metrics)
        if record.get("event") in _ORDER and isinstance(record.get("step"), int)
    )
    return max(moments, default=None)


def recorded_eval(metrics: Path, iter_num: int) -> events.EvalDone | None:
    """The evaluation that the records hold of an iteration."""
    for record in _records(metrics):
        if record.get("event") == "eval" and record.get("step") == iter_num:
            try:
                return events.EvalDone(
                    iter_num=iter_num,
                    train_loss=float(record["train_loss"]),
                    val_loss=float(record["val_loss"]),
                    lr=float(record["lr"]),
                    best=bool(record["best"]),
                    eval_ms=float(record["eval_ms"]),
                )
            except (KeyError, TypeError, ValueError):
                return None  # a line that another version or another hand wrote
    return None


def _records(metrics: Path) -> Iterator[dict[str, Any]]:
    if not metrics.is_file():
        return
    with metrics.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue  # the line the run was killed in
            if isinstance(record, dict):
                yield record

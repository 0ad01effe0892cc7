"""`metrics.jsonl`: one JSON object a line, `{"v":1,"event":"step",…}`; the record `explain-log` prefers.

Events: run, step, eval, sample, checkpoint, nonfinite, notice, warning, end. Losses in nats per token, times
in ms, mfu 0..1; what is unknown is left out rather than written as null, and numbers that are not finite as
text ("nan").
"""

import dataclasses
import json
import math
from typing import Any

from nanogpt_cli import events
from nanogpt_cli.cli.reporters.appended_file import Sink

SCHEMA_VERSION = 1
_NAMES = {events.EvalDone: "eval", events.SampleDrawn: "sample", events.CheckpointSaved: "checkpoint"}


class JsonLinesReporter:
    """Writes each event as one line, flushed at once."""

    def __init__(self, stream: Sink) -> None:
        self.stream = stream

    def emit(self, event: events.Event) -> None:
        """Write the event's record, if it has one."""
        if record := to_record(event):
            self.stream.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
            self.stream.flush()

    def close(self) -> None:
        """Nothing of ours to close: the stream belongs to whoever opened it."""


def to_record(event: events.Event) -> dict[str, Any] | None:
    """The record of one event; None for those that are only for the screen."""
    match event:
        case events.RunStarted():
            return _record("run", dataclasses.asdict(event))
        case events.StepLogged():
            return _record(
                "step",
                {
                    "step": event.iter_num,
                    "loss": event.loss,
                    "lr": event.lr,
                    "grad_norm": event.grad_norm,
                    "clipped": event.clipped,
                    "step_ms": event.step_ms,
                    "tok_per_sec": event.tokens_per_second,
                    "mfu": event.mfu,
                    "tokens": event.tokens_seen,
                    "epochs": event.epochs,
                },
            )
        case events.NonFinite():
            values = dataclasses.asdict(event)
            return _record("nonfinite", {"step": values.pop("iter_num"), **values})
        case events.EvalDone() | events.SampleDrawn() | events.CheckpointSaved():
            values = dataclasses.asdict(event)
            step = values.pop("iter_num")
            return _record(_NAMES[type(event)], {"step": step, **values})
        case events.Warned():
            return _record("warning", {"message": event.message})
        case events.Notice():
            return _record("notice", {"message": event.message})
        case events.RunEnded():
            return _record("end", dataclasses.asdict(event))
    return None


def _record(name: str, values: dict[str, Any]) -> dict[str, Any]:
    known = {key: _plain(value) for key, value in values.items() if value is not None}
    return {"v": SCHEMA_VERSION, "event": name, **known}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no NaN
    return value

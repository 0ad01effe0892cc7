"""Our own record: metrics.jsonl, one JSON object a line, `{"v": 1, "event": "step", …}`.

Unknown events and unknown fields are ignored, fields of a wrong type count as absent: a newer or damaged
file is still read as far as it is understood.
"""

import json
import math
from collections.abc import Mapping
from typing import TypeGuard

from nanogpt_cli.explain.assemble import Assembler
from nanogpt_cli.explain.nanogpt_settings import KNOWN
from nanogpt_cli.explain.records import Ending, EvalPoint, IterPoint, Scalar

_READ = KNOWN | {"arch", "optimizer", "ngram_order", "ngram_rows"}  # nanoGPT's settings, and some of ours
_MAX_INT = 10**15  # JSON allows numbers of any length; no counter of a training is larger


class MetricsReader:
    """Hands every record to the assembler; `feed` says whether the line was one."""

    def __init__(self, assembler: Assembler) -> None:
        self._assembler = assembler
        self.n_records = 0

    def feed(self, line: str) -> bool:
        """Take one line; False if it is no record of ours."""
        if '"event"' not in line or not line.lstrip().startswith("{"):
            return False
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            return False  # a line cut short, or another program's
        if not isinstance(record, dict) or not isinstance(record.get("event"), str):
            return False
        self.n_records += 1
        handlers = {"run": self._run, "step": self._step, "eval": self._eval, "end": self._end}
        if handler := handlers.get(record["event"]):
            handler(record)
        elif record["event"] == "checkpoint" and (step := _int(record, "step")) is not None:
            self._assembler.add_checkpoint(step)
        return True

    def _run(self, record: Mapping[str, object]) -> None:
        run = self._assembler.new_process("ours")
        run.nanogpt_habits = False
        run.config = settings(record.get("config"))
        run.vocab_size = _int(record, "vocab_size")
        run.n_params = _int(record, "n_params")
        run.tokens_per_iter = _int(record, "tokens_per_iter")
        run.train_tokens = _int(record, "train_tokens")
        run.flops_per_token = _float(record, "flops_per_token")
        run.peak_flops = _float(record, "peak_flops")
        run.peak_source = str(record.get("peak_source") or "")
        run.device = str(record.get("device") or "")
        run.resuming = record.get("resumed_from_iter") is not None
        run.pretrained = not str(run.config.get("init_from", "scratch")).startswith(("scratch", "resume"))

    def _step(self, record: Mapping[str, object]) -> None:
        step = _int(record, "step")
        if step is None:
            return
        self._assembler.current.nanogpt_habits = False
        self._assembler.add_iter(
            "ours",
            IterPoint(
                iter_num=step,
                loss=_loss(record, "loss"),
                time_ms=_float(record, "step_ms"),
                mfu=_float(record, "mfu"),
                lr=_float(record, "lr"),
                grad_norm=_float(record, "grad_norm"),
                tokens_per_second=_float(record, "tok_per_sec"),
            ),
        )

    def _eval(self, record: Mapping[str, object]) -> None:
        step = _int(record, "step")
        if step is None:
            return
        self._assembler.current.nanogpt_habits = False
        self._assembler.add_eval(
            "ours",
            EvalPoint(
                iter_num=step,
                train_loss=_loss(record, "train_loss"),
                val_loss=_loss(record, "val_loss"),
                lr=_float(record, "lr"),
                eval_ms=_float(record, "eval_ms"),
            ),
        )

    def _end(self, record: Mapping[str, object]) -> None:
        self._assembler.current.ending = Ending(
            reason=str(record.get("reason") or ""),
            iters=_int(record, "iters"),
            wall_seconds=_float(record, "wall_seconds"),
        )


def settings(table: object) -> dict[str, Scalar]:
    """The settings of a config table, flat or in sections; only those that a diagnosis uses."""
    found: dict[str, Scalar] = {}
    if not isinstance(table, Mapping):
        return found
    for name, value in table.items():
        section = value if isinstance(value, Mapping) else {name: value}
        found |= {str(key): item for key, item in section.items() if key in _READ and _usable(item)}
    return found


def _usable(value: object) -> TypeGuard[Scalar]:
    if isinstance(value, int | float):
        return math.isfinite(value) if isinstance(value, float) else abs(value) < _MAX_INT
    return isinstance(value, str)


def _int(record: Mapping[str, object], name: str) -> int | None:
    value = record.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_INT else None


def _float(record: Mapping[str, object], name: str) -> float | None:
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e300 and math.isfinite(value) else None


def _loss(record: Mapping[str, object], name: str) -> float:
    """A loss; JSON has no NaN, so "nan", "inf" and anything that is no number mean not finite."""
    value = _float(record, name)
    if value is None:
        return math.inf if record.get(name) == "inf" else math.nan
    return value

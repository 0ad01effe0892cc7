"""Logs written for tests, in nanoGPT's format and in ours; `explain_text` explains one from memory."""

import io
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

from nanogpt_cli.explain.parse import parse_stream
from nanogpt_cli.explain.records import Log, Run
from nanogpt_cli.explain.report import ExplainedFinding, Explanation, explain

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "logs"

HEADER = (
    "tokens per iteration will be: 491,520\n"
    "defaulting to vocab_size of GPT-2 to 50304 (50257 rounded up for efficiency)\n"
    "Initializing a new model from scratch\n"
    "number of parameters: 123.59M\n"
)


def parse_text(text: str | bytes) -> Log:
    """The records of a log given as text."""
    raw = text.encode() if isinstance(text, str) else text
    return parse_stream(io.BytesIO(raw), "test.log")


def only_run(text: str | bytes) -> Run:
    """The run of a log that must hold exactly one."""
    log = parse_text(text)
    assert len(log.runs) == 1
    return log.runs[0]


def explain_text(source: str | bytes | Log, lines: tuple[int, int] | None = None) -> Explanation:
    """The explanation of a log given as text, or read already."""
    return explain(source if isinstance(source, Log) else parse_text(source), lines=lines)


def codes(source: str | bytes | Log) -> tuple[str, ...]:
    """Codes of the findings, most important first."""
    return explain_text(source).codes


def finding(source: str | bytes | Log, code: str) -> ExplainedFinding:
    """The finding of that code, which must be there."""
    return next(f for f in explain_text(source).findings if f.code == code)


def run_log(run: Run, *, format_name: str = "", duplicated: int = 0) -> Log:
    """A log of one run given as records, as the readers of other trainers' formats fill them."""
    run.n_iter_lines, run.n_eval_lines = len(run.iters), len(run.evals)
    n_lines = run.n_iter_lines + run.n_eval_lines
    return Log(
        source="test.log",
        format=format_name or run.trainer,
        runs=[run],
        n_lines=n_lines,
        n_text_lines=n_lines,
        n_duplicated_lines=duplicated,
    )


def crash(error: str, code: str = "main()", file: str = "/x/train.py") -> str:
    """A traceback that ends in `error`, from the line `code` of a training script."""
    head = "Traceback (most recent call last):\n"
    return f'{head}  File "{file}", line 9, in <module>\n    {code}\n{error}\n'


def iter_line(number: int, loss: float, ms: float = 50.0, mfu: float | None = 5.0) -> str:
    """One training line of nanoGPT's."""
    return f"iter {number}: loss {loss:.4f}, time {ms:.2f}ms" + ("" if mfu is None else f", mfu {mfu:.2f}%")


def eval_lines(losses: Iterable[tuple[float, float]], interval: int = 250) -> str:
    """Evaluations 0, interval, 2·interval …"""
    return "".join(
        f"step {i * interval}: train loss {train:.4f}, val loss {val:.4f}\n"
        for i, (train, val) in enumerate(losses)
    )


def iter_lines(losses: Iterable[float], interval: int = 10, start: int = 0) -> str:
    """Training lines start, start + interval …, each at the usual speed."""
    return "".join(iter_line(start + i * interval, loss) + "\n" for i, loss in enumerate(losses))


def falling(first: float, last: float, count: int) -> list[float]:
    """A loss that falls as losses do: fast, then slowly towards `last`."""
    return [last + (first - last) * math.exp(-5 * i / max(1, count - 1)) for i in range(count)]


def record(event: str, **fields: object) -> str:
    """One line of metrics.jsonl."""
    return json.dumps({"v": 1, "event": event, **fields}) + "\n"


RUN: Mapping[str, object] = {
    "config": {"max_iters": 200, "eval_interval": 50, "eval_iters": 20, "batch_size": 12, "block_size": 64,
               "gradient_accumulation_steps": 1, "n_layer": 4, "n_head": 4, "n_embd": 128},
    "n_params": 804096,
    "vocab_size": 65,
    "tokens_per_iter": 768,
    "flops_per_token": 5.2e6,
    "peak_flops": 4e11,
    "peak_source": "measured: bfloat16 matrix products on this device",
    "device": "cpu (2 threads)",
}  # fmt: skip


def metrics(steps: Iterable[float] = (), end: str = "", **changes: object) -> str:
    """A metrics.jsonl: run, one step every 10 iterations, an eval every 50, and the end if one is named."""
    text = record("run", **{**RUN, **changes})
    for i, loss in enumerate(steps):
        if i % 5 == 0:
            text += record("eval", step=i * 10, train_loss=loss, val_loss=loss + 0.02, lr=1e-3, best=True)
            text += record("checkpoint", step=i * 10, path="out/x", best=True, save_ms=10.0)
        text += record("step", step=i * 10, loss=loss, lr=1e-3, grad_norm=0.5, step_ms=40.0,
                       tok_per_sec=19200.0, mfu=0.25, tokens=i * 7680)  # fmt: skip
    return text + (record("end", reason=end, iters=200, wall_seconds=12.5) if end else "")


# cpu-best's shape and schedule, for 200 iterations: a table of n-grams, Muon, and one reading of the text.
WITH_TABLE: Mapping[str, object] = {
    "config": {"max_iters": 200, "lr_decay_iters": 200, "warmup_iters": 0, "learning_rate": 0.02,
               "min_lr": 0.0, "decay_lr": True, "eval_interval": 50, "eval_iters": 20, "batch_size": 4,
               "block_size": 256, "gradient_accumulation_steps": 1, "arch": "nanochat", "optimizer": "muon",
               "ngram_order": 8, "ngram_rows": 262144, "n_layer": 4, "n_head": 3, "n_embd": 192},
    "n_params": 52_126_080,
    "tokens_per_iter": 1024,
    "train_tokens": 200_000,
    "flops_per_token": 13_051_008,
}  # fmt: skip


def table_run(evals: Iterable[tuple[float, float]], optimizer: str = "muon") -> str:
    """A metrics.jsonl of such a run: train and val loss every 50 iterations, steps in between, the end."""
    config = {**cast("dict[str, object]", WITH_TABLE["config"]), "optimizer": optimizer}
    text = record("run", **{**RUN, **WITH_TABLE, "config": config})
    for i, (train_loss, val_loss) in enumerate(evals):
        for step in range(50 * i, min(50 * i + 50, 201), 10):
            lr = 0.02 * min(1.0, (200 - step) / 160)
            if step == 50 * i:
                text += record("eval", step=step, train_loss=train_loss, val_loss=val_loss, lr=lr, best=True)
            if step < 200:
                text += record("step", step=step, loss=val_loss, lr=lr, step_ms=90.0)
    return text + record("end", reason="finished", iters=200, wall_seconds=20.0)

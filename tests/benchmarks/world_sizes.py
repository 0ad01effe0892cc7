"""1, 2 and 4 processes side by side: the losses of both architectures and optimizers, ddp and fsdp.

    python -m tests.benchmarks.world_sizes
    python -m tests.benchmarks.world_sizes --compile --iters 10

Every run has the same seed and the same global batch; what differs is who computes which part of it. On a
CPU, with gloo. "apart" is the largest difference of any iteration's loss from that of one process. Times of
4 processes on a machine of 2 cores say nothing about speed, and none are shown.
"""

import argparse
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from nanogpt_cli.data.prepare import prepare
from tests.distributed.ranks import free_ports, job, run_jobs

TOLERANCE = 1e-4
FLAGS = (
    *("train", "--preset", "cpu-tiny", "--device=cpu", "--dtype=float32", "--threads=1", "--eval_iters=8"),
    *("--n_layer=4", "--n_head=4", "--n_embd=64", "--block_size=32", "--batch_size=4"),
    *("--gradient_accumulation_steps=8", "--log_interval=1", "--warmup_iters=5"),
)
# Rates that are stable: where a loss spikes, training amplifies differences of rounding until they are seen.
RATES = {"adamw": 0.001, "muon": 0.01}
KINDS = [(arch, optimizer) for arch in ("gpt2", "nanochat") for optimizer in ("adamw", "muon")]
STRATEGIES = [(1, "auto"), (2, "ddp"), (2, "fsdp"), (4, "ddp"), (4, "fsdp")]


def main() -> None:
    """Do all runs, print the table; the exit code is 1 where a loss is further apart than the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--text", default="python-docs", help="a file, or a built-in corpus")
    parser.add_argument("--iters", type=int, default=30)
    parser.add_argument("--compile", action="store_true", help="all runs with torch.compile, the first too")
    parser.add_argument("--only", default="all", choices=["all", "gpt2", "nanochat", "adamw", "muon"])
    args = parser.parse_args()
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}, gloo, float32"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(args.text, name="text", data_root=folder / "data", tokenizer="char")
        kinds = [kind for kind in KINDS if args.only in (*kind, "all")]
        jobs = all_jobs(kinds, args.iters, args.compile)
        said = run_jobs(folder, jobs, free_ports(len(jobs)), patience_seconds=1800)
        for out, text in said.items():
            warnings = [line for line in text.splitlines() if line.startswith("warning")]
            print("\n".join(f"{out}: {line}" for line in warnings), end="")
        agree = [show(folder, *kind) for kind in kinds]
        sys.exit(0 if all(agree) else 1)


def all_jobs(kinds: list[tuple[str, str]], iters: int, compiled: bool) -> list[dict[str, Any]]:
    """One run for each kind and strategy."""
    length = (f"--max_iters={iters}", f"--lr_decay_iters={iters}", f"--eval_interval={iters}")
    return [
        job(
            f"{arch}-{optimizer}-{world_size}-{strategy}",
            world_size,
            *FLAGS,
            *length,
            *(f"--arch={arch}", f"--optimizer={optimizer}", f"--strategy={strategy}"),
            *(f"--learning_rate={RATES[optimizer]}", f"--compile={compiled}"),
        )
        for arch, optimizer in kinds
        for world_size, strategy in STRATEGIES
    ]


def show(folder: Path, arch: str, optimizer: str) -> bool:
    """The table of one architecture and optimizer; whether all its losses agree."""
    print(f"\n{arch}, {optimizer}")
    expected: list[float] = []
    good = True
    for world_size, strategy in STRATEGIES:
        losses, val_loss = read(folder / f"{arch}-{optimizer}-{world_size}-{strategy}")
        expected = expected or losses
        apart = max(abs(left - right) for left, right in zip(losses, expected, strict=True))
        good = good and apart <= TOLERANCE
        picked = "  ".join(f"{losses[i]:.6f}" for i in (0, len(losses) // 2, -1))
        who = "1 process" if world_size == 1 else f"{world_size} processes, {strategy}"
        print(f"  {who:18}  {picked}  val {val_loss:.6f}  apart {apart:.1e}")
    return good


def read(run: Path) -> tuple[list[float], float]:
    """Every iteration's loss, and the last val loss."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [record["loss"] for record in records if record["event"] == "step"]
    return losses, [record["val_loss"] for record in records if record["event"] == "eval"][-1]


if __name__ == "__main__":
    main()

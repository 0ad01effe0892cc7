"""A training run as a true process that tests can watch, signal and kill."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers import run_cli

RUN = Path("out/run")
_DEADLINE_SECONDS = 120
_POLL_SECONDS = 0.005


def prepare() -> None:
    """A byte dataset of a few thousand tokens as data/input."""
    text = "El niño come pan. Où est la clé ? 你好，世界。 The end.\n" * 60
    Path("input.txt").write_text(text, encoding="utf-8")
    result = run_cli("prepare", "input.txt", "--tokenizer", "byte")
    assert result.code == 0, result.err


def train_command(*options: object, run: Path = RUN, max_iters: int = 400) -> list[str]:
    """A run of a few seconds that saves every 20 iterations, with dropout and cut log intervals."""
    return [
        *(sys.executable, "-m", "nanogpt_cli", "train", "--preset", "cpu-tiny", "--out-dir", str(run)),
        *("--device=cpu", "--dtype=float32", "--compile=False", "--threads=1"),
        *("--n_layer=2", "--n_head=2", "--n_embd=16", "--block_size=16", "--batch_size=4"),
        *("--dropout=0.2", f"--max_iters={max_iters}", f"--lr_decay_iters={max_iters}", "--warmup_iters=10"),
        *("--eval_interval=100", "--eval_iters=2", "--log_interval=7", "--save_interval=20"),
        *map(str, options),
    ]


class Process:
    """A running command whose output is kept in a file, so that no pipe can fill up."""

    def __init__(self, command: list[str], *, output: int | None = None) -> None:
        """`output` is a file descriptor to write to instead, a terminal's for one."""
        with Path("process.log").open("w", encoding="utf-8") as log:
            self.child = subprocess.Popen(command, stdout=output or log, stderr=subprocess.STDOUT)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_error: object) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Look again and again; fail when the process has ended or the deadline has passed."""
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while not condition():
            assert self.child.poll() is None, f"it ended too early: {self.output()}"
            assert time.monotonic() < deadline, f"it never happened: {self.output()}"
            time.sleep(_POLL_SECONDS)  # between two looks, not instead of one

    def send(self, number: int) -> None:
        """Send a signal."""
        self.child.send_signal(number)

    def ended(self) -> int:
        """Wait for the end and return the exit code."""
        return self.child.wait(timeout=_DEADLINE_SECONDS)

    def output(self) -> str:
        """All it has said."""
        return Path("process.log").read_text(encoding="utf-8")


def run_to_the_end(command: list[str]) -> str:
    """Run a command that must succeed; its output."""
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def records(run: Path = RUN) -> list[dict[str, Any]]:
    """All whole lines of metrics.jsonl; the last one may still be being written."""
    path = run / "metrics.jsonl"
    if not path.is_file():
        return []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def steps(run: Path = RUN) -> list[int]:
    """Iterations of all step records, in order."""
    return [record["step"] for record in records(run) if record["event"] == "step"]


def losses(run: Path = RUN) -> list[tuple[int, float]]:
    """Iteration and loss of all step records."""
    return [(record["step"], record["loss"]) for record in records(run) if record["event"] == "step"]

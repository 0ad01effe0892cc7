"""`nanogpt train --nproc`: the processes share the work, and end together whatever ends one of them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nanogpt_cli.cli.launch import without_option
from tests.helpers import run_cli

pytestmark = pytest.mark.distributed
FLAGS = [
    *("train", "--preset", "cpu-tiny", "--device=cpu", "--dtype=float32", "--compile=False", "--threads=1"),
    *("--n_layer=2", "--n_head=2", "--n_embd=16", "--block_size=8", "--batch_size=2"),
    *("--gradient_accumulation_steps=4", "--lr_decay_iters=8", "--warmup_iters=2"),
    *("--eval_interval=100000", "--eval_iters=3", "--log_interval=1"),
]
# Python reads it at its start: a process then ends in iteration 3 in the way it is told.
DYING = """
import os
import sys

if os.environ.get("RANK") == "{rank}":
    from nanogpt_cli.engine.trainer import Trainer

    real = Trainer.train_iteration

    def train_iteration(self, iter_num):
        if iter_num == 3:
            {way}
        real(self, iter_num)

    Trainer.train_iteration = train_iteration
"""


@pytest.fixture(autouse=True)
def dataset() -> None:
    Path("input.txt").write_text("The quick brown fox jumps over the lazy dog.\n" * 60, encoding="utf-8")
    assert run_cli("prepare", "input.txt", "--tokenizer", "byte").code == 0


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nanogpt_cli", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def steps(run: str) -> list[dict[str, Any]]:
    path = Path("out") / run / "metrics.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines if line.endswith("}")]
    return [record for record in records if record["event"] == "step"]


@pytest.mark.slow
def test_two_processes_do_what_one_does() -> None:
    with start(*FLAGS, "--nproc", 2, "--max_iters=6", "--out_dir=out/two", "--json") as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["iters"] == 6  # one document: process 0 alone speaks
    assert run_cli(*FLAGS, "--max_iters=6", "--out_dir=out/one").code == 0
    assert [s["loss"] for s in steps("two")] == pytest.approx([s["loss"] for s in steps("one")], abs=1e-5)


def endless_run_of_two(way: str, strategy: str, *options: str, rank: int = 1) -> tuple[int, str, float]:
    """Exit code, what was said, and the seconds from `way`, done by a process in iteration 3, to the end."""
    Path("dying").mkdir()
    marked = f"open('struck', 'w').close(); {way}"
    Path("dying/sitecustomize.py").write_text(DYING.format(way=marked, rank=rank), encoding="utf-8")
    path = os.pathsep.join(["dying", *filter(None, [os.environ.get("PYTHONPATH")])])
    flags = (*FLAGS, "--nproc=2", "--max_iters=100000", "--out_dir=out/x", f"--strategy={strategy}", *options)
    with start(*flags, PYTHONPATH=path) as process:
        _, err = process.communicate(timeout=120)
    return process.returncode, err, time.time() - Path("struck").stat().st_mtime


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "strategy", "said", "code"),
    [
        ("raise ValueError('cosmic ray')", "ddp", "ValueError: cosmic ray", 1),
        ("os.kill(os.getpid(), 9)", "fsdp", "error: process 1 of 2 was ended by SIGKILL, as Linux", 137),
    ],
)
def test_one_that_fails_ends_all_within_seconds(way: str, strategy: str, said: str, code: int) -> None:
    if sys.platform == "win32" and "kill" in way:
        pytest.skip("Windows has no such signal")
    ended, err, seconds = endless_run_of_two(way, strategy)
    assert ended == code, err
    assert said in err
    # What process 0 says, and no traceback of it:
    assert "error: another process of this run has ended" in err
    assert err.splitlines()[-1].startswith("hint: ") or code == 1
    assert len(steps("x")) <= 4
    assert seconds < 30  # 2 to 5 on a quiet machine: the last is what the others are given to say why


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
@pytest.mark.parametrize("saved", [True, False])
def test_the_launcher_speaks_for_a_process_0_that_was_killed(saved: bool) -> None:
    """It has the terminal and everything to say; the system's OOM killer left nothing but the prompt."""
    saving = ("--save_interval=2",) if saved else ()
    ended, err, _ = endless_run_of_two("os.kill(os.getpid(), 9)", "ddp", *saving, rank=0)
    assert ended == 137
    said, hint = err.splitlines()[-2:]
    assert said == "error: process 0 of 2 was ended by SIGKILL, as Linux does it when the memory runs out"
    if saved:
        command = "nanogpt train --resume --out-dir out/x --nproc 2"
        assert hint == f"hint: go on from the last checkpoint: {command}"
    else:
        assert "no checkpoint was saved; the same command with --explain" in hint


@pytest.mark.slow
def test_a_loss_that_is_not_finite_on_one_stops_all() -> None:
    poison = "self.raw_model.lm_head.register_forward_hook(lambda m, i, out: out * float('nan'))"
    ended, err, _ = endless_run_of_two(poison, "fsdp")
    assert ended == 3, err
    assert "error: training diverged at iteration 3" in err
    assert "Traceback" not in err
    assert [step["step"] for step in steps("x")] == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_signal_saves_and_stops_all() -> None:
    with start(*FLAGS, "--nproc=2", "--max_iters=100000", "--out_dir=out/x") as process:
        deadline = time.monotonic() + 90
        while len(steps("x")) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    (saved,) = (Path("out/x") / "checkpoints").iterdir()
    assert (saved / "COMPLETE").exists()
    assert "nanogpt train --resume --out-dir out/x" in err


def test_a_mistake_is_told_and_nothing_is_left_running() -> None:
    with start(*FLAGS, "--nproc", 3, "--max_iters=6") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "error: gradient_accumulation_steps = 4 cannot be divided among 3 processes" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "given",
    [["--nproc", "2", "--device=cpu"], ["--nproc=2", "--device=cpu"], ["--device=cpu", "--nproc", "2"]],
)
def test_the_processes_are_not_launched_again(given: list[str]) -> None:
    assert without_option(given, "--nproc") == ["--device=cpu"]

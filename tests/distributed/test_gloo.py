"""Two processes under torchrun are one process with the same global batch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from nanogpt_cli.engine.checkpoint import list_checkpoints, read_checkpoint
from nanogpt_cli.engine.distributed import Distributed, process_group
from nanogpt_cli.errors import UsageError
from tests.helpers import run_cli

pytestmark = pytest.mark.distributed
FLAGS = [
    *("train", "--preset", "cpu-tiny", "--device=cpu", "--dtype=float32", "--compile=False", "--threads=1"),
    *("--n_layer=2", "--n_head=2", "--n_embd=16", "--block_size=8", "--batch_size=3"),
    *("--gradient_accumulation_steps=4", "--max_iters=8", "--lr_decay_iters=8", "--warmup_iters=2"),
    *("--eval_interval=4", "--eval_iters=3", "--log_interval=2", "--save_interval=5", "--bias=True"),
]


@pytest.fixture(autouse=True)
def dataset() -> None:
    text = "El niño come pan. Où est la clé ? 你好，世界。 The end.\n" * 60
    Path("input.txt").write_text(text, encoding="utf-8")
    assert run_cli("prepare", "input.txt", "--tokenizer", "byte").code == 0


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("glooo", "no torch.distributed backend 'glooo'"),
        ("cpu:gloo,cuda:ncl", "no torch.distributed backend 'cpu:gloo,cuda:ncl'"),
        ("nccl", "the nccl backend needs GPUs"),
    ],
)
def test_a_backend_that_is_not_there_is_refused(backend: str, message: str) -> None:
    with (
        pytest.raises(UsageError, match=message) as caught,
        process_group(Distributed(world_size=2), backend, torch.device("cpu")),
    ):
        pytest.fail("no group can have come together")
    assert "--backend gloo" in caught.value.hint


def torchrun(processes: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(processes), "-m", "nanogpt_cli", *map(str, arguments)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )


def records(run: str, kind: str) -> list[dict[str, Any]]:
    lines = (Path(run) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["event"] == kind]


def tensors(run: str) -> dict[str, torch.Tensor]:
    return read_checkpoint(list_checkpoints(Path(run))[-1]).weights()


def test_two_processes_train_what_one_trains() -> None:
    """To float32's rounding, as the sums are taken in another order: 1e-5 in losses, 1e-4 in weights."""
    done = torchrun(2, *FLAGS, "--out_dir=out/two")
    assert done.returncode == 0, done.stderr
    assert run_cli(*FLAGS, "--out_dir=out/one").code == 0

    one, two = records("out/one", "step"), records("out/two", "step")
    assert [step["step"] for step in two] == [0, 2, 4, 6]
    assert [step["loss"] for step in two] == pytest.approx([step["loss"] for step in one], abs=1e-5)
    assert [step["grad_norm"] for step in two] == pytest.approx([s["grad_norm"] for s in one], rel=1e-4)
    assert [step["tokens"] for step in two] == [step["tokens"] for step in one]
    for key in ("train_loss", "val_loss"):
        expected = [done[key] for done in records("out/one", "eval")]
        assert [done[key] for done in records("out/two", "eval")] == pytest.approx(expected, abs=1e-5)
    left, right = tensors("out/one"), tensors("out/two")
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(right[name], left[name], rtol=0, atol=1e-4, msg=name)

    # Rank 0 alone speaks and writes.
    assert done.stderr.count("\niter 6: loss ") == 1
    assert len(records("out/two", "run")) == 1
    assert records("out/two", "run")[0]["world_size"] == 2
    assert sorted(path.name for path in Path("out").iterdir()) == ["one", "two"]


def test_a_run_of_two_goes_on_alone() -> None:
    """How many share a run is no property of it: two do 5 iterations, weights divided, one does the rest."""
    half = torchrun(2, *FLAGS, "--strategy=fsdp", "--max_iters=5", "--out_dir=out/run")
    assert half.returncode == 0, half.stderr
    assert "warning" not in half.stderr.lower()
    assert run_cli("train", "--resume", "--out_dir=out/run", "--max_iters=8").code == 0
    assert run_cli(*FLAGS, "--out_dir=out/one").code == 0
    expected = [step["loss"] for step in records("out/one", "step")]
    assert [step["step"] for step in records("out/run", "step")] == [0, 2, 4, 6]
    assert [step["loss"] for step in records("out/run", "step")] == pytest.approx(expected, abs=1e-5)


def test_steps_that_cannot_be_divided_are_refused_before_anything_is_written() -> None:
    done = torchrun(2, *FLAGS, "--gradient_accumulation_steps=3", "--out_dir=out/run")
    assert done.returncode != 0
    assert "gradient_accumulation_steps = 3 cannot be divided among 2 processes" in done.stderr
    assert "hint: use a multiple of 2: --gradient-accumulation-steps 2" in done.stderr
    assert not Path("out").exists()

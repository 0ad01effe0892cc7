"""Samples and log lines of a run of two processes: the ranks stay together, and one speaks for all."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.test_gloo import FLAGS, torchrun
from tests.distributed.test_launch import start
from tests.helpers import run_cli

pytestmark = pytest.mark.distributed


@pytest.fixture(autouse=True)
def dataset() -> None:
    Path("input.txt").write_text("El niño come pan. Où est la clé ? The end.\n" * 60, encoding="utf-8")
    assert run_cli("prepare", "input.txt", "--tokenizer", "byte").code == 0


def records(run: str, kind: str) -> list[dict[str, Any]]:
    lines = (Path(run) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["event"] == kind]


def test_two_processes_with_divided_weights_draw_samples_and_change_nothing() -> None:
    """All ranks take part in each. A line tells the mean of both ranks' losses, which is neither's own."""
    sampling = ("--sample_interval=3", "--sample_tokens=6", "--dropout=0.0")
    done = torchrun(2, *FLAGS, *sampling, "--strategy=fsdp", "--out_dir=out/two")
    assert done.returncode == 0, done.stderr
    assert "no sample" not in done.stderr
    assert done.stderr.count("\nsample 6: ") == 1
    assert run_cli(*FLAGS, "--dropout=0.0", "--out_dir=out/one").code == 0

    one, two = records("out/one", "step"), records("out/two", "step")
    assert [step["loss"] for step in two] == pytest.approx([step["loss"] for step in one], abs=1e-5)
    assert [step["clipped"] for step in two] == [step["clipped"] for step in one]
    assert [step["epochs"] for step in two] == [step["epochs"] for step in one]
    assert [record["step"] for record in records("out/two", "sample")] == [0, 3, 6, 8]


# Python reads it at its start: one process then fails in its first sample.
FAILING = """
import os

if os.environ.get("RANK") == "{rank}":
    {patch}
"""
BETWEEN = """
    from nanogpt_cli.engine.sampling import Sampling
    real, calls = Sampling.draw, []
    def draw(self, *args):
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError("cosmic ray")
        return real(self, *args)
    Sampling.draw = draw
"""
WITHIN = """
    from nanogpt_cli.engine.models.gpt2 import MLP
    real = MLP.forward
    def forward(self, x):
        if x.shape[0] == 1:
            raise MemoryError("cosmic ray")
        return real(self, x)
    MLP.forward = forward
"""


def failing_run(patch: str, rank: int, strategy: str) -> tuple[int, str]:
    Path("failing").mkdir()
    text = FAILING.format(rank=rank, patch=patch.strip())
    Path("failing/sitecustomize.py").write_text(text, encoding="utf-8")
    path = os.pathsep.join(["failing", *filter(None, [os.environ.get("PYTHONPATH")])])
    flags = (*FLAGS, "--nproc=2", "--sample_interval=3", "--sample_tokens=6", "--out_dir=out/run")
    with start(*flags, f"--strategy={strategy}", PYTHONPATH=path) as process:
        try:
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, err


@pytest.mark.parametrize(("rank", "strategy"), [(1, "fsdp"), pytest.param(1, "ddp", marks=pytest.mark.slow)])
def test_a_sample_that_fails_on_one_process_ends_the_samples_on_all(rank: int, strategy: str) -> None:
    """The others waited for its part in a sample that it had given up, for as long as gloo lets them."""
    code, err = failing_run(BETWEEN, rank, strategy)
    assert code == 0, err
    assert err.count("no sample at iteration 0 (cosmic ray); training goes on without samples") == 1
    assert [record["step"] for record in records("out/run", "step")] == [0, 2, 4, 6]
    assert records("out/run", "sample") == []


@pytest.mark.slow
def test_a_sample_that_fails_inside_a_shared_pass_ends_the_run_within_seconds() -> None:
    """Nobody can say which part of the weights the other process waits for."""
    code, err = failing_run(WITHIN, 1, "fsdp")
    assert code == 1
    assert "error: a sample failed while other processes took part in it (cosmic ray)" in err
    assert "--resume --sample-interval 0" in err

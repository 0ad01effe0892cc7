"""Samples and log lines of a run of two processes: the ranks stay together, and one speaks for all."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.distributed.test_gloo import FLAGS, torchrun
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

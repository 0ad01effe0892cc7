"""kill -9 in the middle of a run: `--resume` ends where the undisturbed run ends, bit by bit."""

import re
import signal
from pathlib import Path

import pytest

from nanogpt_cli.engine.checkpoint import list_checkpoints
from tests.workflow.processes import (
    RUN,
    Process,
    losses,
    prepare,
    records,
    run_to_the_end,
    steps,
    train_command,
)

STRAIGHT = Path("out/straight")


@pytest.mark.slow
def test_a_killed_and_resumed_run_equals_the_undisturbed_one() -> None:
    """Killed three times: after the first checkpoints, as the resumed run begins, and well into it.

    tests/benchmarks/kill_drill.py does the same to a longer run, twenty times, at random moments.
    """
    prepare()
    run_to_the_end(train_command(run=STRAIGHT))
    with Process(train_command()) as first:
        first.wait_until(lambda: bool(steps()) and steps()[-1] >= 60)
        first.send(signal.SIGKILL)
        assert first.ended() == -signal.SIGKILL
    killed_at = steps()[-1]
    assert killed_at < 400
    with Process([*train_command(), "--resume"]) as second:
        second.wait_until(lambda: len(starts()) == 2)
        second.send(signal.SIGKILL)
        assert second.ended() == -signal.SIGKILL
    cut_the_last_lines()
    with Process([*train_command(), "--resume"]) as third:
        third.wait_until(lambda: steps()[-1] >= killed_at + 60)
        third.send(signal.SIGKILL)
        assert third.ended() == -signal.SIGKILL
    assert steps()[-1] < 399, "the run was over before it could be killed"
    run_to_the_end([*train_command(), "--resume"])

    last, expected = list_checkpoints(RUN)[-1], list_checkpoints(STRAIGHT)[-1]
    assert last.name == expected.name == "iter_00000400"
    for name in ("model.safetensors", "optim.safetensors"):
        assert (last / name).read_bytes() == (expected / name).read_bytes(), name

    assert steps() == list(range(0, 400, 7)), "a gap, or an iteration twice"
    assert losses() == losses(STRAIGHT)
    assert evaluations(RUN) == evaluations(STRAIGHT)
    assert log_lines(RUN) == log_lines(STRAIGHT)
    assert [step for step, *_ in evaluations(RUN)] == [0, 100, 200, 300, 400]
    leftovers = [path.name for path in (RUN / "checkpoints").iterdir() if not path.name.startswith("iter_")]
    assert leftovers == []


def starts() -> list[dict[str, object]]:
    """The records that open the run and each continuation."""
    return [record for record in records() if record["event"] == "run"]


def cut_the_last_lines() -> None:
    """As a kill in the middle of a write leaves them."""
    for name in ("metrics.jsonl", "train.log"):
        with (RUN / name).open("r+b") as file:
            file.truncate(file.seek(0, 2) - 5)


def log_lines(run: Path) -> list[str]:
    """nanoGPT's lines of train.log, without their times."""
    lines = (run / "train.log").read_text(encoding="utf-8").splitlines()
    return [line.partition(", time")[0] for line in lines if re.match(r"(iter|step) \d+:", line)]


def evaluations(run: Path) -> list[tuple[int, float, float, bool]]:
    return [
        (record["step"], record["train_loss"], record["val_loss"], record["best"])
        for record in records(run)
        if record["event"] == "eval"
    ]

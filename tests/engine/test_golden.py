"""Thirty losses of one fixed float32 run on the CPU: a change of numerics cannot slip in unseen.

`make golden` writes them anew (NANOGPT_GOLDEN=write); the diff is to be reviewed before it is committed.
"""

import os
from pathlib import Path

import pytest

from nanogpt_cli.events import StepLogged
from tests.engine.tiny import Recorder, build_trainer, tiny_config

GOLDEN = Path(__file__).parent.parent / "fixtures" / "losses" / "cpu_gpt2.txt"
# Read on import: inside a test no NANOGPT_* variable of the caller is left.
WRITE = os.environ.get("NANOGPT_GOLDEN") == "write"


def golden_losses(run_dir: Path) -> list[float]:
    """The run: 32 wide, with biases, dropout, 2 micro-batches, warm-up, decay and clipping at work."""
    config = tiny_config(
        n_embd=32,
        block_size=16,
        bias=True,
        dropout=0.1,
        gradient_accumulation_steps=2,
        warmup_iters=5,
        max_iters=30,
        lr_decay_iters=25,
        grad_clip=0.5,
    )
    recorder = Recorder()
    build_trainer(run_dir, config, reporter=recorder).run()
    return [event.loss for event in recorder.of(StepLogged)]


def test_golden_losses(tmp_path: Path) -> None:
    losses = golden_losses(tmp_path)
    if WRITE:
        GOLDEN.write_text("".join(f"{loss:.6f}\n" for loss in losses), encoding="utf-8")
        pytest.skip(f"wrote {GOLDEN.name}")
    expected = [float(line) for line in GOLDEN.read_text(encoding="utf-8").split()]
    assert len(expected) == 30
    assert losses == pytest.approx(expected, abs=1e-4)

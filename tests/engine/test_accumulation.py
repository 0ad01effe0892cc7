"""1 micro-batch of 8 sequences, 2 of 4 and 8 of 1 are the same training."""

from pathlib import Path

import pytest
import torch

from nanogpt_cli.events import StepLogged
from tests.engine.tiny import Recorder, build_trainer, tiny_config


def trained(folder: Path, batch_size: int, steps: int) -> tuple[list[float], dict[str, torch.Tensor]]:
    recorder = Recorder()
    config = tiny_config(max_iters=8, batch_size=batch_size, gradient_accumulation_steps=steps, bias=True)
    trainer = build_trainer(folder, config, reporter=recorder)
    trainer.run()
    weights = {name: p.detach() for name, p in trainer.raw_model.named_parameters()}
    return [event.loss for event in recorder.of(StepLogged)], weights


@pytest.mark.parametrize(("batch_size", "steps"), [(4, 2), (2, 4), (1, 8)])
def test_losses_and_weights_are_those_of_one_large_batch(batch_size: int, steps: int, tmp_path: Path) -> None:
    """To float32's rounding: 1e-5 in the loss; AdamW divides by √v, which lifts it to 1e-4 in weights."""
    losses, weights = trained(tmp_path / "one", 8, 1)
    other_losses, other_weights = trained(tmp_path / "many", batch_size, steps)
    assert len(losses) == 8
    assert losses[-1] < losses[0] - 0.1, "nothing was learnt: equality would mean little"
    assert other_losses == pytest.approx(losses, abs=1e-5)
    for name, weight in weights.items():
        torch.testing.assert_close(other_weights[name], weight, rtol=0, atol=1e-4, msg=name)

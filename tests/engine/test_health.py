"""Skipped batches and loss spikes: what goes on, what stops, what is said."""

from pathlib import Path

import pytest
import torch

from nanogpt_cli.engine.health import MAX_SKIPPED_IN_A_ROW, SkipBudget, SpikeDetector
from nanogpt_cli.engine.trainer import Trainer
from nanogpt_cli.errors import DivergedError
from nanogpt_cli.events import CheckpointSaved, NonFinite, StepLogged, Warned
from tests.engine.tiny import Recorder, build_trainer, tiny_config


def poison(trainer: Trainer, iters: set[int]) -> None:
    """Make the loss of these iterations NaN."""
    inner = trainer.raw_model.forward

    def forward(idx: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, loss = inner(idx, targets)
        if trainer.raw_model.training and trainer.state.iter_num in iters:
            loss = loss * float("nan")
        return logits, loss

    trainer.model.forward = forward  # type: ignore[assignment]


def test_a_skipped_batch_leaves_the_weights_and_is_recorded(tmp_path: Path) -> None:
    recorder = Recorder()
    trainer = build_trainer(tmp_path, tiny_config(on_nonfinite="skip"), reporter=recorder)
    trainer.train_iteration(0)
    poison(trainer, {1})
    before = {k: v.clone() for k, v in trainer.raw_model.state_dict().items()}
    trainer.train_iteration(1)
    assert all(torch.equal(v, before[k]) for k, v in trainer.raw_model.state_dict().items())
    (event,) = recorder.of(NonFinite)
    assert event.iter_num == 1
    assert event.skipped
    assert list(event.data_offsets) == trainer.batches.train.starts(1, 4).tolist()
    assert "iteration 1 is skipped" in recorder.of(Warned)[0].message
    trainer.train_iteration(2)
    assert not all(torch.equal(v, before[k]) for k, v in trainer.raw_model.state_dict().items())
    assert [step.iter_num for step in recorder.of(StepLogged)] == [0, 2]  # nothing to log for 1


def test_the_mean_of_a_log_interval_leaves_skipped_batches_out(tmp_path: Path) -> None:
    recorders = [Recorder(), Recorder()]
    for recorder, bad in zip(recorders, (set(), {2}), strict=True):
        trainer = build_trainer(
            tmp_path,
            tiny_config(on_nonfinite="skip", log_interval=4, learning_rate=0.0, min_lr=0.0),
            reporter=recorder,
        )
        poison(trainer, bad)
        for iter_num in range(5):
            trainer.train_iteration(iter_num)
    whole, skipped = (recorder.of(StepLogged)[-1].loss for recorder in recorders)
    assert whole != skipped
    assert skipped == pytest.approx(whole, rel=0.1)  # finite, and of the other three


def test_too_many_in_a_row_stop_the_run(tmp_path: Path) -> None:
    trainer = build_trainer(tmp_path, tiny_config(on_nonfinite="skip", max_iters=40))
    poison(trainer, set(range(3, 40)))
    with pytest.raises(DivergedError, match="10 batches were skipped before it, which is enough"):
        trainer.run()
    assert trainer.state.iter_num == 3 + MAX_SKIPPED_IN_A_ROW


def test_the_budget_forgives_what_was_not_in_a_row_until_it_is_a_hundred() -> None:
    budget = SkipBudget()
    for _ in range(100):
        assert budget.spend()
        budget.ok()
    assert not budget.spend()


def test_stopping_is_the_default_and_says_where(tmp_path: Path) -> None:
    recorder = Recorder()
    trainer = build_trainer(tmp_path, reporter=recorder)
    poison(trainer, {2})
    with pytest.raises(DivergedError, match="at iteration 2: the loss is not finite"):
        trainer.run()
    (event,) = recorder.of(NonFinite)
    assert not event.skipped
    assert len(event.data_offsets) == 4


def test_a_spike_is_told_once_and_noise_never() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = (2.0 + 0.05 * torch.randn(2000, generator=generator)).tolist()
    detector = SpikeDetector()
    assert [i for i, loss in enumerate(noise) if detector.add(loss) is not None] == []
    told = [detector.add(loss) for loss in (3.5, 3.6, 3.4, *noise[:60], 4.0)]
    assert [i for i, score in enumerate(told) if score is not None] == [0, 63]
    score = told[0]
    assert score is not None
    assert 15 < score < 50


def test_a_falling_loss_and_a_constant_one_have_no_spikes() -> None:
    for losses in ([10 / (1 + i / 30) for i in range(300)], [1.0] * 100 + [1.05] + [1.0] * 10):
        detector = SpikeDetector()
        assert all(detector.add(loss) is None for loss in losses)


def test_a_run_warns_of_its_spike(tmp_path: Path) -> None:
    recorder = Recorder()
    trainer = build_trainer(
        tmp_path, tiny_config(learning_rate=0.0, min_lr=0.0, max_iters=40), reporter=recorder
    )
    inner = trainer.raw_model.forward

    def forward(idx: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, loss = inner(idx, targets)
        return logits, loss * (5.0 if trainer.state.iter_num == 30 else 1.0)

    trainer.model.forward = forward  # type: ignore[assignment]
    for iter_num in range(35):
        trainer.train_iteration(iter_num)
    (warning,) = recorder.of(Warned)
    assert "at iteration 30" in warning.message


def test_saving_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    now = [0.0]
    monkeypatch.setattr("nanogpt_cli.engine.saving.time.monotonic", lambda: now[0])
    trainer = build_trainer(tmp_path, tiny_config(save_minutes=1.0, max_iters=12), reporter=recorder)
    real = trainer.train_iteration

    def slowly(iter_num: int) -> None:
        real(iter_num)
        now[0] += 20.0

    trainer.train_iteration = slowly  # type: ignore[method-assign]
    trainer.run()
    assert [event.iter_num for event in recorder.of(CheckpointSaved)] == [3, 6, 9, 12]

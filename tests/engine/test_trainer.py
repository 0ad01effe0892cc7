"""The loop: it learns, it says what it does in order, and it stops before anything is spoilt."""

import errno
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nanogpt_cli.engine import saving
from nanogpt_cli.engine import trainer as module
from nanogpt_cli.engine.checkpoint import list_checkpoints, read_checkpoint
from nanogpt_cli.engine.interrupts import StopRequest
from nanogpt_cli.errors import DivergedError, NanoGPTError
from nanogpt_cli.events import CheckpointSaved, EvalDone, EvalStarted, Event, StepLogged, Warned
from tests.engine.tiny import VOCAB_SIZE, Recorder, build_trainer, snapshot, tiny_config


def run(folder: Path, *, then: Any = None, stop: StopRequest | None = None, **changes: Any) -> Recorder:
    recorder = Recorder(then)
    build_trainer(folder, tiny_config(**changes), reporter=recorder, stop=stop).run()
    return recorder


def saved_iters(folder: Path) -> list[int]:
    return [int(path.name.removeprefix("iter_")) for path in list_checkpoints(folder)]


def test_two_layers_learn_to_count(tmp_path: Path) -> None:
    """0 1 2 … 12 0 1 …: after one token all is known but the position, so the loss nears zero from ln 13."""
    recorder = Recorder()
    config = tiny_config(max_iters=150, lr_decay_iters=150, n_embd=32, batch_size=8)
    tokens = np.tile(np.arange(VOCAB_SIZE, dtype=np.uint16), 100)
    assert build_trainer(tmp_path, config, tokens=tokens, reporter=recorder).run() == "finished"
    first, last = recorder.of(EvalDone)
    assert first.val_loss == pytest.approx(math.log(VOCAB_SIZE), abs=0.1)
    assert last.val_loss < 0.1
    assert recorder.of(StepLogged)[-1].loss < 0.1


def test_events_come_in_the_order_things_happen(tmp_path: Path) -> None:
    recorder = run(tmp_path, max_iters=4, eval_interval=2, always_save_checkpoint=True, log_interval=2)
    assert [(type(event).__name__, getattr(event, "iter_num", None)) for event in recorder.events] == [
        ("EvalStarted", 0),
        ("EvalDone", 0),
        ("StepLogged", 0),
        ("EvalStarted", 2),
        ("EvalDone", 2),
        ("CheckpointSaved", 2),
        ("StepLogged", 2),
        ("EvalStarted", 4),
        ("EvalDone", 4),
        ("CheckpointSaved", 4),
    ]


def test_the_learning_rate_of_the_schedule_reaches_the_optimizer(tmp_path: Path) -> None:
    trainer = build_trainer(tmp_path, tiny_config(learning_rate=1e-2, warmup_iters=3))
    trainer.train_iteration(0)
    assert {group["lr"] for group in trainer.optimizer.param_groups} == {1e-2 / 4}
    assert trainer.reporter.of(StepLogged)[0].lr == 1e-2 / 4  # type: ignore[attr-defined]


def test_max_iters_0_evaluates_and_saves_the_fresh_weights(tmp_path: Path) -> None:
    """Nothing was saved, and yet the next step named was to sample from it."""
    recorder = run(tmp_path, max_iters=0)
    assert [type(event) for event in recorder.events] == [EvalStarted, EvalDone, CheckpointSaved]


# --- Evaluation and saving


def test_eval_only_evaluates_once_and_changes_nothing(tmp_path: Path) -> None:
    recorder = Recorder()
    trainer = build_trainer(tmp_path, tiny_config(eval_only=True), reporter=recorder)
    before = snapshot(trainer)
    assert trainer.run() == "eval_only"
    assert [type(event) for event in recorder.events] == [EvalStarted, EvalDone]
    assert all(torch.equal(before[name], after) for name, after in snapshot(trainer).items())
    assert not (tmp_path / "checkpoints").exists()


def test_two_evaluations_of_the_same_weights_are_equal(tmp_path: Path) -> None:
    recorder = Recorder()
    trainer = build_trainer(tmp_path, tiny_config(dropout=0.5), reporter=recorder)
    trainer._evaluate(3)
    trainer._evaluate(7)
    first, second = recorder.of(EvalDone)
    assert (first.train_loss, first.val_loss) == (second.train_loss, second.val_loss)
    assert (first.best, second.best) == (True, False)
    assert trainer.raw_model.training


def test_evaluating_does_not_change_the_training(tmp_path: Path) -> None:
    seldom = run(tmp_path / "seldom", dropout=0.2, max_iters=8)
    often = run(tmp_path / "often", dropout=0.2, max_iters=8, eval_interval=1)
    assert [e.loss for e in often.of(StepLogged)] == [e.loss for e in seldom.of(StepLogged)]


def test_save_interval_saves_between_evaluations(tmp_path: Path) -> None:
    recorder = run(tmp_path, max_iters=10, save_interval=3, keep_checkpoints=9)
    assert [event.iter_num for event in recorder.of(CheckpointSaved)] == [3, 6, 9, 10]
    assert saved_iters(tmp_path) == [3, 6, 9, 10]


def test_always_save_checkpoint_saves_evaluations_that_are_not_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([5.0, 5.0, 4.0, 4.0, 6.0, 6.0, 7.0, 7.0] * 2)
    monkeypatch.setattr(module, "estimate_loss", lambda *_a, **_k: next(losses))
    changes = {"max_iters": 6, "eval_interval": 2, "keep_checkpoints": 9}
    always = run(tmp_path / "always", always_save_checkpoint=True, **changes)
    better = run(tmp_path / "better", always_save_checkpoint=False, **changes)
    assert [(e.iter_num, e.best) for e in always.of(CheckpointSaved)] == [(2, True), (4, False), (6, False)]
    assert [e.iter_num for e in better.of(CheckpointSaved)] == [2, 6]  # the end is saved in any case


@pytest.mark.parametrize("eval_interval", [1000, 5])
def test_a_stop_request_saves_and_ends_after_the_iteration(eval_interval: int, tmp_path: Path) -> None:
    """Also where an evaluation is due, which may take longer than a preempted run has."""
    stop = StopRequest()

    def then(event: Event) -> None:
        if isinstance(event, StepLogged) and event.iter_num == 4:
            stop.signal_name = "SIGINT"

    recorder = Recorder(then)
    config = tiny_config(eval_interval=eval_interval)
    trainer = build_trainer(tmp_path, config, reporter=recorder, stop=stop)
    assert trainer.run() == "SIGINT"
    assert saved_iters(tmp_path) == [5]
    assert [e.iter_num for e in recorder.of(EvalDone)] == [0]
    saved = read_checkpoint(list_checkpoints(tmp_path)[-1])
    assert saved.own_val_loss is None


def test_an_evaluation_that_was_given_up_is_made_on_resume(tmp_path: Path) -> None:
    stop = StopRequest()
    recorder = Recorder(lambda event: setattr(stop, "signal_name", _signal_at(event, 5)))
    config = tiny_config(eval_interval=5, max_iters=7)
    trainer = build_trainer(tmp_path, config, reporter=recorder, stop=stop)
    assert trainer.run() == "SIGTERM"
    assert [e.iter_num for e in recorder.of(EvalDone)] == [0]
    assert [e.iter_num for e in recorder.of(EvalStarted)] == [0, 5]
    saved = read_checkpoint(list_checkpoints(tmp_path)[-1])
    assert (saved.state.iter_num, saved.own_val_loss) == (5, None)

    resumed = Recorder()
    build_trainer(tmp_path, config, reporter=resumed, checkpoint=saved).run()
    assert [e.iter_num for e in resumed.of(EvalDone)] == [5, 7]
    undisturbed = run(tmp_path / "undisturbed", eval_interval=5, max_iters=7).of(EvalDone)
    assert [e.val_loss for e in resumed.of(EvalDone)] == [e.val_loss for e in undisturbed[1:]]
    kept = read_checkpoint(list_checkpoints(tmp_path)[0])  # it now carries the val loss
    assert (kept.state.iter_num, kept.own_val_loss) == (5, undisturbed[1].val_loss)


def _signal_at(event: Event, iter_num: int) -> str | None:
    """SIGTERM from the moment an evaluation begins at `iter_num`."""
    return "SIGTERM" if isinstance(event, EvalStarted) and event.iter_num == iter_num else None


# --- What can go wrong


def full_disk(*_args: object, **_options: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_in_mid_run_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = saving.save_checkpoint

    def save(run_dir: Path, model: Any, optimizer: Any, state: Any, *rest: Any) -> Path:
        if state.iter_num < 10:
            full_disk()
        return real(run_dir, model, optimizer, state, *rest)

    monkeypatch.setattr(saving, "save_checkpoint", save)
    recorder = run(tmp_path, max_iters=10, save_interval=5)
    (warning,) = recorder.of(Warned)
    assert "iteration 5 was not saved" in warning.message
    assert "No space left on device" in warning.message
    assert len(recorder.of(StepLogged)) == 10
    assert saved_iters(tmp_path) == [10]


def test_a_full_disk_at_the_last_save_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "save_checkpoint", full_disk)
    with pytest.raises(NanoGPTError, match=r"was not saved: .*No space left"):
        run(tmp_path, max_iters=3)


def test_a_full_disk_when_stopping_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "save_checkpoint", full_disk)
    stop = StopRequest()
    stop.signal_name = "SIGTERM"
    trainer = build_trainer(tmp_path, stop=stop)
    trainer.train_iteration(0)
    with pytest.raises(NanoGPTError, match=r"was not saved: .*No space left"):
        trainer.run()


class Poisoned(torch.nn.Module):
    """A model whose loss, or only its gradient, stops being finite at one of its calls."""

    def __init__(self, model: torch.nn.Module, at: int, kind: str) -> None:
        super().__init__()
        self.model, self.at, self.kind, self.calls = model, at, kind, 0

    def forward(self, idx: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, loss = self.model(idx, targets)
        self.calls += 1
        if self.calls == self.at:
            # √ has an infinite slope at 0: a finite loss with a gradient that is not.
            loss = (
                loss * math.nan
                if self.kind == "loss"
                else loss + (logits - logits.detach()).abs().sqrt().sum()
            )
        return logits, loss


@pytest.mark.parametrize("kind", ["loss", "gradient"])
@pytest.mark.parametrize("grad_clip", [1.0, 0.0])
def test_a_loss_or_gradient_that_is_not_finite_never_reaches_the_weights(
    kind: str, grad_clip: float, tmp_path: Path
) -> None:
    config = tiny_config(save_interval=3, gradient_accumulation_steps=2, grad_clip=grad_clip)
    trainer = build_trainer(tmp_path, config)
    trainer.model = Poisoned(trainer.raw_model, at=2 * 5 + 1, kind=kind)  # first micro-batch of iteration 5
    before: dict[str, torch.Tensor] = {}
    real_iteration = trainer.train_iteration

    def iteration(iter_num: int) -> None:
        before.update(snapshot(trainer))
        real_iteration(iter_num)

    trainer.train_iteration = iteration  # type: ignore[method-assign]
    with pytest.raises(DivergedError, match=f"at iteration 5: the {kind} is not finite") as caught:
        trainer.run()
    assert all(torch.equal(before[name], after) for name, after in snapshot(trainer).items())
    assert str(tmp_path / "checkpoints" / "iter_00000003") in caught.value.message
    assert f"nanogpt train --resume --out-dir {tmp_path}" in caught.value.hint
    assert "--learning-rate" in caught.value.hint
    assert saved_iters(tmp_path) == [3]


def test_diverging_before_any_checkpoint_says_so(tmp_path: Path) -> None:
    trainer = build_trainer(tmp_path)
    trainer.model = Poisoned(trainer.raw_model, at=1, kind="loss")
    with pytest.raises(DivergedError, match="no checkpoint was saved yet") as caught:
        trainer.run()
    assert "--resume" not in caught.value.hint


# --- Numbers


class Clock:
    """A clock that stands still unless it is told to move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.perf_counter", clock)
    return clock


def test_time_per_iteration_leaves_evaluations_and_saves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """nanoGPT's known fault: its log line after an evaluation contains the evaluation."""

    def slow(seconds: float, real: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            clock.now += seconds
            return real(*args, **options)

        return call

    monkeypatch.setattr(module, "estimate_loss", slow(100.0, module.estimate_loss))
    monkeypatch.setattr(saving, "save_checkpoint", slow(1000.0, saving.save_checkpoint))
    recorder = Recorder()
    config = tiny_config(max_iters=7, eval_interval=3, always_save_checkpoint=True, log_interval=2)
    trainer = build_trainer(tmp_path, config, reporter=recorder, peak_flops=1e9)
    trainer.train_iteration = slow(0.0, trainer.train_iteration)  # type: ignore[method-assign]
    trainer._micro_batches = slow(0.25, trainer._micro_batches)  # type: ignore[method-assign]
    trainer.run()
    steps = recorder.of(StepLogged)
    assert [step.iter_num for step in steps] == [0, 2, 4, 6]
    assert [step.step_ms for step in steps] == pytest.approx([250.0] * 4)
    assert [step.tokens_per_second for step in steps] == pytest.approx([4 * 8 / 0.25] * 4)
    assert [done.eval_ms for done in recorder.of(EvalDone)] == pytest.approx([200_000.0] * 4)
    assert [saved.save_ms for saved in recorder.of(CheckpointSaved)] == pytest.approx([1_000_000.0] * 3)


def test_mfu_by_hand(tmp_path: Path) -> None:
    """bias-less, 2 layers, 16 wide, V = 13, T = 8: N = 13·16 + 2·(2·16 + 12·16²) + 16 = 6,432.

    6·N + 12·L·C·T = 38,592 + 3,072 = 41,664 FLOPs a token; 1000 tokens/s of 1 GFLOP/s are 4.1664 %.
    """
    trainer = build_trainer(tmp_path, peak_flops=1e9)
    assert trainer.raw_model.num_params() == 6432
    assert trainer.log.mfu(1000) == pytest.approx(0.041664)
    assert build_trainer(tmp_path, peak_flops=None).log.mfu(1000) is None


def test_the_logged_loss_is_the_mean_of_the_interval(tmp_path: Path) -> None:
    every = [e.loss for e in run(tmp_path / "every", max_iters=9).of(StepLogged)]
    thirds = run(tmp_path / "thirds", max_iters=9, log_interval=4).of(StepLogged)
    assert [e.iter_num for e in thirds] == [0, 4, 8]
    expected = [every[0], sum(every[1:5]) / 4, sum(every[5:9]) / 4]
    assert [e.loss for e in thirds] == pytest.approx(expected, abs=1e-6)
    assert [e.tokens_seen for e in thirds] == [32, 160, 288]

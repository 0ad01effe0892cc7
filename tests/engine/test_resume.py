"""A run that was stopped and resumed is the run that was never stopped, bit by bit."""

from pathlib import Path
from typing import Any

import pytest

from nanogpt_cli.engine.checkpoint import list_checkpoints, read_checkpoint
from nanogpt_cli.engine.interrupts import StopRequest
from nanogpt_cli.events import EvalDone, Event, StepLogged
from tests.engine.tiny import Recorder, assert_same_tensors, build_trainer, snapshot, tiny_config


def stopped_and_resumed(folder: Path, stop_at: list[int], **changes: Any) -> tuple[Any, Recorder]:
    """Run to the end, interrupted by SIGTERM in front of each iteration of `stop_at`."""
    everything = Recorder()
    config = tiny_config(**changes)
    for number, stop_iter in enumerate([*stop_at, None]):
        stop = StopRequest()
        saved = list_checkpoints(folder)
        checkpoint = read_checkpoint(saved[-1]) if saved else None
        assert (checkpoint is None) == (number == 0)
        trainer = build_trainer(folder, config, reporter=everything, checkpoint=checkpoint, stop=stop)
        real_iteration = trainer.train_iteration

        def iteration(
            iter_num: int, real: Any = real_iteration, stop: StopRequest = stop, at: int | None = stop_iter
        ) -> None:
            real(iter_num)
            if at is not None and iter_num + 1 == at:
                stop.signal_name = "SIGTERM"

        trainer.train_iteration = iteration  # type: ignore[method-assign]
        assert trainer.run() == ("finished" if stop_iter is None else "SIGTERM")
    return trainer, everything


def losses(recorder: Recorder) -> list[tuple[int, float, float | None, int]]:
    return [(e.iter_num, e.loss, e.grad_norm, e.tokens_seen) for e in recorder.of(StepLogged)]


def evaluations(recorder: Recorder) -> list[tuple[int, float, float, bool]]:
    return [(e.iter_num, e.train_loss, e.val_loss, e.best) for e in recorder.of(EvalDone)]


MODERN = {"arch": "nanochat", "bias": False, "optimizer": "muon", "lr_schedule": "wsd"}
NGRAMS = {**MODERN, "ngram_order": 3, "ngram_rows": 50, "ngram_dropout": 0.3, "dropout": 0.0}


@pytest.mark.parametrize("recipe", [{}, MODERN, NGRAMS], ids=["gpt2", "nanochat", "ngrams"])
@pytest.mark.parametrize("data_order", ["random", "shuffle"])
@pytest.mark.parametrize("stop_at", [[10], [1], [19], [7, 8, 13]], ids=str)
def test_20_iterations_equal_10_and_10(
    stop_at: list[int], data_order: str, recipe: dict[str, Any], tmp_path: Path
) -> None:
    """With dropout, accumulation, clipping, a schedule, and log lines every 4 iterations, which stops cut.

    A shuffled epoch of 2000 tokens has 248 windows, 31 batches of 8: 500 tokens end several on the way.
    """
    changes = {
        "dropout": 0.3,
        "gradient_accumulation_steps": 2,
        "log_interval": 4,
        "eval_interval": 5,
        "bias": True,
        "data_order": data_order,
        **recipe,
    }
    straight, expected = stopped_and_resumed(tmp_path / "straight", [], **changes)
    resumed, found = stopped_and_resumed(tmp_path / "resumed", stop_at, **changes)
    assert_same_tensors(snapshot(resumed), snapshot(straight))
    assert losses(found) == losses(expected)
    assert len(losses(expected)) == 5
    assert evaluations(found) == evaluations(expected)
    assert [e[0] for e in evaluations(expected)] == [0, 5, 10, 15, 20]
    assert resumed.state == straight.state


def test_dropout_of_large_tensors_resumes_exactly_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its random numbers come from another generator, which torch's seeds at every call."""
    monkeypatch.setattr("nanogpt_cli.engine.models.dropout._SMALL", 1)
    straight, _ = stopped_and_resumed(tmp_path / "straight", [], dropout=0.3)
    resumed, _ = stopped_and_resumed(tmp_path / "resumed", [7, 8], dropout=0.3)
    assert_same_tensors(snapshot(resumed), snapshot(straight))
    monkeypatch.setattr("nanogpt_cli.engine.models.dropout._SMALL", 1 << 30)
    others, _ = stopped_and_resumed(tmp_path / "others", [], dropout=0.3)
    name = "transformer.wte.weight"
    assert not snapshot(others)[name].equal(snapshot(straight)[name])  # so they were at work


def test_dropout_is_at_work_in_that_comparison(tmp_path: Path) -> None:
    with_dropout, _ = stopped_and_resumed(tmp_path / "a", [], dropout=0.3)
    without, _ = stopped_and_resumed(tmp_path / "b", [], dropout=0.0)
    name = "transformer.wte.weight"
    assert not snapshot(with_dropout)[name].equal(snapshot(without)[name])


def test_a_cut_log_interval_reports_the_mean_of_all_its_iterations(tmp_path: Path) -> None:
    _, every = stopped_and_resumed(tmp_path / "every", [], log_interval=1)
    _, cut = stopped_and_resumed(tmp_path / "cut", [6], log_interval=4)
    single = [loss for _, loss, _, _ in losses(every)]
    iters = [step[0] for step in losses(cut)]
    assert iters == [0, 4, 8, 12, 16]
    assert losses(cut)[2][1] == pytest.approx(sum(single[5:9]) / 4, abs=1e-6)


def test_crossing_an_epoch(tmp_path: Path) -> None:
    """60 tokens hold 6 windows an epoch: batches of 4 end one in their middle, before and after the stop."""

    def run(folder: Path, stop_at: int | None) -> Any:
        saved = list_checkpoints(folder)
        checkpoint = read_checkpoint(saved[-1]) if saved else None
        stop = StopRequest()

        def then(event: Event) -> None:
            if isinstance(event, StepLogged) and event.iter_num + 1 == stop_at:
                stop.signal_name = "SIGINT"

        config = tiny_config(data_order="shuffle")
        trainer = build_trainer(
            folder,
            config,
            tokens=build_trainer(folder, config).batches.train.tokens[:60],
            checkpoint=checkpoint,
            reporter=Recorder(then),
            stop=stop,
        )
        trainer.run()
        return trainer

    run(tmp_path / "b", 10)
    assert_same_tensors(snapshot(run(tmp_path / "b", None)), snapshot(run(tmp_path / "a", None)))


def test_a_longer_run_goes_on_from_a_finished_one(tmp_path: Path) -> None:
    """The last evaluation is not repeated, and the moments go on: max_iters alone was raised."""
    recorder = Recorder()
    build_trainer(tmp_path, tiny_config(max_iters=6), reporter=recorder).run()
    checkpoint = read_checkpoint(list_checkpoints(tmp_path)[-1])
    assert checkpoint.state.iter_num == 6
    build_trainer(tmp_path, tiny_config(max_iters=9), reporter=recorder, checkpoint=checkpoint).run()
    assert [e.iter_num for e in recorder.of(StepLogged)] == list(range(9))
    assert [e.iter_num for e in recorder.of(EvalDone)] == [0, 6, 9]

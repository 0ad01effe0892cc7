"""The meter, and what is read from it: means of an interval, a clock that stands, the spread of times."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.engine import trainer as trainer_module
from nanogpt_cli.engine.checkpoint import list_checkpoints, read_checkpoint
from nanogpt_cli.engine.eta import Pauses
from nanogpt_cli.engine.meter import Meter, Norms
from nanogpt_cli.engine.peak_memory import peak_memory
from nanogpt_cli.events import StepLogged
from tests.engine.tiny import CPU, Recorder, build_trainer, tiny_config


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


def meter(**changes: Any) -> Meter:
    return Meter(device=CPU, synchronize=lambda: None, tokens_per_iter=1, **changes)


def steps(folder: Path, **changes: Any) -> list[StepLogged]:
    recorder = Recorder()
    build_trainer(folder, tiny_config(**changes), reporter=recorder).run()
    return recorder.of(StepLogged)


# --- Time


def test_a_meter_that_is_paused_twice_or_started_twice_counts_once(clock: Clock) -> None:
    counted = meter()
    for seconds in (2.0, 4.0):
        counted.start()
        counted.start()
        clock.now += seconds
        counted.add(torch.tensor(1.5))
        counted.pause()
        clock.now += 50.0
        counted.pause()
    interval = counted.close_interval()
    assert (interval.loss_sum.item(), interval.iters, interval.step_ms) == (3.0, 2, 3000.0)
    assert counted.median_ms() == counted.recent_ms() == 3000.0


def test_the_median_leaves_the_warm_up_interval_out(clock: Clock) -> None:
    counted = meter()
    assert counted.median_ms() is None
    for seconds in (60.0, 1.0, 3.0, 2.0):
        counted.start()
        clock.now += seconds
        counted.add(torch.tensor(0.0))
        counted.close_interval()
    assert counted.median_ms() == 2000.0


def test_percentiles_by_hand() -> None:
    counted = meter()
    assert counted.percentile_ms(10) is None
    counted.interval_ms = [900.0]
    assert counted.percentile_ms(10) == counted.percentile_ms(90) == 900.0
    counted.interval_ms += [float(ms) for ms in range(20, 0, -1)]  # 1..20, and 900 of the warm-up
    assert (counted.percentile_ms(10), counted.percentile_ms(90)) == (2.0, 18.0)


@given(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=40))
def test_eight_of_ten_intervals_lie_between_the_percentiles(times: list[float]) -> None:
    counted = meter()
    counted.interval_ms = [0.0, *times]
    low, middle, high = counted.percentile_ms(10), counted.median_ms(), counted.percentile_ms(90)
    assert low is not None
    assert middle is not None
    assert high is not None
    assert min(times) <= low <= middle <= high <= max(times)
    assert sum(low <= ms <= high for ms in times) >= 0.8 * len(times)


# --- Gradients


def test_the_norm_is_the_mean_of_the_interval_and_clipped_its_share(tmp_path: Path) -> None:
    every = steps(tmp_path / "every", max_iters=9, grad_clip=1.0)
    norms = [event.grad_norm for event in every if event.grad_norm is not None]
    limit = sorted(norms)[4]  # so that some are clipped and some are not
    every = steps(tmp_path / "limited", max_iters=9, grad_clip=limit)
    alone = [(event.grad_norm or 0.0, event.clipped) for event in every]
    assert {share for _, share in alone} == {0.0, 1.0}
    assert all(share == (norm > limit) for norm, share in alone)
    fourths = steps(tmp_path / "fourths", max_iters=9, grad_clip=limit, log_interval=4)
    for event, part in zip(fourths, (alone[:1], alone[1:5], alone[5:9]), strict=True):
        assert event.grad_norm == pytest.approx(sum(norm for norm, _ in part) / len(part), rel=1e-6)
        assert event.clipped == sum(share or 0 for _, share in part) / len(part)


def test_without_clipping_the_norm_is_told_all_the_same_and_no_share(tmp_path: Path) -> None:
    limited = steps(tmp_path / "limited", max_iters=1, grad_clip=1e9)
    free = steps(tmp_path / "free", max_iters=1, grad_clip=0.0)
    assert [event.grad_norm for event in free] == [event.grad_norm for event in limited]
    assert [event.clipped for event in free] == [None]


def test_a_norm_that_overflowed_under_a_grad_scaler_does_not_spoil_the_mean() -> None:
    counted = meter(grad_clip=1.0)
    for value in (0.5, math.inf, 2.5, math.nan):
        counted.add(torch.tensor(1.0), torch.tensor(value))
    assert counted.norms() == Norms(total=3.0, count=2, clipped=1)


def test_a_skipped_iteration_has_no_norm() -> None:
    counted = meter(grad_clip=1.0)
    counted.add(None, torch.tensor(9.0))
    assert counted.norms().mean is None


def test_norms_are_not_read_before_the_interval_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading one waits for the device, and on a GPU leaves it idle."""
    read: list[int] = []
    real = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: [read.append(1), real(self)][1])
    counted = meter(grad_clip=1.0)
    for _ in range(5):
        counted.start()
        counted.add(torch.tensor(1.0), torch.tensor(2.0))
    assert read == []
    assert counted.close_interval().norms == Norms(total=10.0, count=5, clipped=5)
    assert read == [1]


def test_an_interval_cut_in_two_by_a_checkpoint_is_whole_after_it(tmp_path: Path) -> None:
    """Saved at 6, between the lines of 4 and 8: the line of 8 must be the undisturbed run's, bit for bit."""
    limit = 0.5
    whole = steps(tmp_path / "whole", max_iters=9, log_interval=4, grad_clip=limit)
    recorder = Recorder()
    config = tiny_config(max_iters=9, log_interval=4, grad_clip=limit)
    build_trainer(tmp_path / "cut", tiny_config(max_iters=6, log_interval=4, grad_clip=limit)).run()
    checkpoint = read_checkpoint(list_checkpoints(tmp_path / "cut")[-1])
    assert checkpoint.state.pending_norms == 1
    build_trainer(tmp_path / "cut", config, reporter=recorder, checkpoint=checkpoint).run()
    (line,) = recorder.of(StepLogged)
    assert (line.iter_num, line.grad_norm, line.clipped) == (8, whole[-1].grad_norm, whole[-1].clipped)


# --- Text, memory, time to come


def test_epochs_are_passes_over_the_training_split(tmp_path: Path) -> None:
    """4 sequences of 8 tokens an iteration, from a text of 2,000."""
    assert [event.epochs for event in steps(tmp_path, max_iters=3)] == [0.016, 0.032, 0.048]


def test_peak_memory_sees_what_was_used() -> None:
    before = peak_memory(CPU).used_bytes
    assert before is not None
    held = torch.ones(64 * 2**20, dtype=torch.uint8)
    grown = peak_memory(CPU).used_bytes
    del held
    assert grown is not None
    assert peak_memory(CPU).used_bytes == pytest.approx(grown, rel=0.05)  # a peak does not fall again
    assert 10 * 2**20 < before <= grown
    assert peak_memory(CPU).reserved_bytes is None


def test_eta_counts_the_iterations_and_evaluations_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Half a second an iteration, 10 s an evaluation, at 0, 4, 8 and the end at 10."""

    def estimate(*_args: object, **_options: object) -> float:
        clock.now += 5.0
        return 1.0

    monkeypatch.setattr(trainer_module, "estimate_loss", estimate)
    recorder = Recorder()
    trainer = build_trainer(tmp_path, tiny_config(max_iters=10, eval_interval=4), reporter=recorder)
    real = trainer._micro_batches

    def micro_batches(iter_num: int) -> Any:
        clock.now += 0.5
        return real(iter_num)

    trainer._micro_batches = micro_batches  # type: ignore[method-assign]
    trainer.run()
    etas = [step.eta_seconds for step in recorder.of(StepLogged)]
    assert etas[0] is None  # warm-up and compilation would mislead
    assert etas[1] == pytest.approx(8 * 0.5 + 3 * 10)  # after iteration 1: 8 left, evaluations at 4, 8, 10
    assert etas[-1] == pytest.approx(10.0)  # the one at the end


def pauses(**settings: Any) -> Pauses:
    defaults = {"eval_interval": 100, "always_save_checkpoint": False, "max_iters": 1000}
    found = Pauses(TrainConfig(**{**defaults, **settings}))
    found.eval_ms, found.sample_ms, found.save_ms = 1.0, 1000.0, 1_000_000.0  # their counts in one number
    return found


@pytest.mark.parametrize(
    ("settings", "done", "evals", "samples", "saves"),
    [
        ({}, 1, 10, 0, 1),  # evaluations at 100 … 1000, the end saved
        ({}, 0, 11, 0, 1),
        ({}, 1000, 1, 0, 1),
        ({"max_iters": 1001}, 1, 11, 0, 1),
        ({"sample_interval": 250}, 1, 10, 4, 1),
        ({"sample_interval": 300}, 1, 10, 4, 1),  # 300, 600, 900 and the end
        ({"always_save_checkpoint": True}, 1, 10, 0, 10),
        ({"save_interval": 50}, 1, 10, 0, 20),
        ({"save_interval": 150, "always_save_checkpoint": True}, 1, 10, 0, 10 + 6 - 3),
        ({"save_interval": 300}, 1, 10, 0, 4),  # 300, 600, 900 and the end
        ({"save_minutes": 1.0}, 1, 10, 0, 61),  # of an hour of training
    ],
)
def test_what_a_run_still_stops_for(
    settings: dict[str, Any], done: int, evals: int, samples: int, saves: int
) -> None:
    expected = evals + 1000 * samples + 1_000_000 * saves
    assert pauses(**settings).seconds_left(done, 3600.0) == pytest.approx(expected / 1000)

"""Verdicts that come late, as on a GPU, forced on the CPU: all is as if they had come at once."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from nanogpt_cli.engine.distributed import Distributed, clip_gradients
from nanogpt_cli.engine.guard import Guard
from nanogpt_cli.engine.trainer import Trainer
from nanogpt_cli.errors import DivergedError
from nanogpt_cli.events import Event, NonFinite
from tests.engine.tiny import CPU, Recorder, assert_same_tensors, build_trainer, snapshot, tiny_config

TIMES = {"step_ms", "eval_ms", "save_ms", "tokens_per_second", "eta_seconds"}
RECIPES: dict[str, dict[str, Any]] = {
    "adamw": {},
    "ngrams": {"arch": "nanochat", "ngram_order": 3, "ngram_rows": 32},
    "muon": {"arch": "nanochat", "optimizer": "muon", "weight_decay": 0.1},
}


def poison(trainer: Trainer, iters: set[int], kind: str) -> None:
    """Make the loss of these iterations NaN, or only the gradient."""
    inner = trainer.raw_model.forward

    def forward(idx: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, loss = inner(idx, targets)
        if trainer.raw_model.training and trainer.state.iter_num in iters:
            # √ has an infinite slope at 0: a finite loss with a gradient that is not.
            endless = (logits - logits.detach()).abs().sqrt().sum()
            loss = loss * math.nan if kind == "loss" else loss + endless
        return logits, loss

    trainer.model.forward = forward  # type: ignore[assignment]


def told(event: Event) -> tuple[str, str]:
    """An event without what a clock says, comparable though NaN is not equal to itself."""
    values = {k: v for k, v in dataclasses.asdict(event).items() if k not in TIMES}
    return type(event).__name__, repr(values).replace("/late/", "/at-once/")


def run(folder: Path, late: int, bad: set[int], kind: str, **changes: Any) -> tuple[Trainer, Recorder, str]:
    recorder = Recorder()
    trainer = build_trainer(folder / "run", tiny_config(**changes), reporter=recorder, late=late)
    poison(trainer, bad, kind)
    try:
        return trainer, recorder, trainer.run()
    except DivergedError as error:
        return trainer, recorder, f"{error.message} {error.hint}".replace("/late/", "/at-once/")


def compare(tmp_path: Path, *args: Any, **changes: Any) -> tuple[Trainer, Recorder, str]:
    trainers = [run(tmp_path / name, n, *args, **changes) for name, n in (("at-once", 0), ("late", 2))]
    (expected, events, ended), (trainer, late_events, late_ended) = trainers
    assert late_ended == ended
    assert [told(event) for event in late_events.events] == [told(event) for event in events.events]
    assert dataclasses.asdict(trainer.state) == dataclasses.asdict(expected.state)
    before, after = snapshot(expected), snapshot(trainer)
    # A first step that did nothing has made the moments, as zeros.
    assert_same_tensors({k: v for k, v in after.items() if k in before or v.any()}, before)
    return trainer, late_events, late_ended


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_a_run_without_trouble_is_the_same(recipe: str, tmp_path: Path) -> None:
    """Log lines, evaluations and saves in between, at iterations that meet and that do not."""
    changes = {"log_interval": 3, "eval_interval": 5, "save_interval": 4, "max_iters": 17}
    _, _, ended = compare(tmp_path, set(), "loss", **changes, **RECIPES[recipe])
    assert ended == "finished"


@pytest.mark.parametrize("recipe", list(RECIPES))
@pytest.mark.parametrize("kind", ["loss", "gradient"])
@pytest.mark.parametrize(
    "at", [0, 5, 9, 14, 19]
)  # the first, before an evaluation, a save, a log line, the last
def test_the_default_stops_as_if_it_had_known_at_once(
    at: int, kind: str, recipe: str, tmp_path: Path
) -> None:
    changes = {"log_interval": 5, "eval_interval": 6, "save_interval": 10, "max_iters": 20}
    trainer, events, ended = compare(tmp_path, {at}, kind, **changes, **RECIPES[recipe])
    assert f"training diverged at iteration {at}: the {kind} is not finite" in ended
    (event,) = events.of(NonFinite)
    assert event.iter_num == at
    assert list(event.data_offsets) == trainer.batches.train.starts(at, 4).tolist()


@pytest.mark.parametrize("recipe", list(RECIPES))
@pytest.mark.parametrize("bad", [{3}, {3, 4, 5, 6}, {0, 7, 19}])
def test_skipped_batches_leave_weights_and_moments_alone(bad: set[int], recipe: str, tmp_path: Path) -> None:
    changes = {"on_nonfinite": "skip", "log_interval": 4, "max_iters": 20, "gradient_accumulation_steps": 2}
    _, events, ended = compare(tmp_path, bad, "gradient", **changes, **RECIPES[recipe])
    assert ended == "finished"
    assert [event.iter_num for event in events.of(NonFinite)] == sorted(bad)


def test_too_many_skipped_stop_a_late_run_as_well(tmp_path: Path) -> None:
    _, events, ended = compare(tmp_path, set(range(3, 40)), "loss", on_nonfinite="skip", max_iters=40)
    assert "10 batches were skipped before it" in ended
    assert [event.iter_num for event in events.of(NonFinite)] == list(range(3, 14))


def test_a_verdict_comes_when_it_is_due_and_not_before() -> None:
    """Whatever the device has finished: all ranks must act at the same iteration."""
    guard = Guard(device=CPU, dist=Distributed(), late=2, once=False)
    heard = []
    for iter_num in range(5):
        loss = torch.tensor(math.inf if iter_num == 1 else 1.0)
        found = guard.ask(iter_num, 10 * iter_num, loss, torch.tensor(0.5), stop=iter_num == 3)
        assert found == float(iter_num == 1)
        heard.append([(v.iter_num, v.finite, v.stop) for v in guard.verdicts(all_of_them=False)])
    assert heard == [[], [], [(0, True, False)], [(1, False, False)], [(2, True, False)]]
    rest = guard.verdicts(all_of_them=True)
    assert [(v.iter_num, v.finite, v.stop, v.tokens_seen) for v in rest] == [
        (3, True, True, 30),
        (4, True, False, 40),
    ]
    assert rest[0].values == (1.0, 0.5)


def test_measuring_a_norm_alone_gives_the_norm_and_leaves_the_gradient() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2, 2))]
    parameters[0].grad = torch.tensor([1.0, 2.0, 2.0])
    assert float(clip_gradients(parameters, math.inf)) == 3.0
    assert parameters[0].grad.tolist() == [1.0, 2.0, 2.0]

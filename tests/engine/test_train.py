"""From settings and a dataset to a run directory: what is written, what is refused, and how a run goes on."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nanogpt_cli.data.tokenizers.base import load_tokenizer
from nanogpt_cli.engine import flops
from nanogpt_cli.engine.checkpoint import list_checkpoints, read_checkpoint
from nanogpt_cli.engine.runs import free_run_dir, load_run, newest_run, read_run_config
from nanogpt_cli.engine.train import train
from nanogpt_cli.errors import NanoGPTError, UsageError
from nanogpt_cli.events import (
    CheckpointSaved,
    Compiling,
    EvalDone,
    RunEnded,
    RunStarted,
    StepLogged,
    Warned,
)
from tests.engine.checkpoints import flip_last_byte
from tests.engine.datasets import TEXT, prepared, tiny_settings
from tests.engine.tiny import Recorder, cpu_hardware

RUN = Path("out/run")


@pytest.fixture(autouse=True)
def known_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flops, "measure_gemm", lambda _hardware: 1e12)


def run(resume: bool = False, overwrite: bool = False, **changes: Any) -> tuple[RunEnded, Recorder]:
    recorder = Recorder()
    ended = train(
        tiny_settings(**changes), prepared(), RUN, reporter=recorder, resume=resume, overwrite=overwrite
    )
    return ended, recorder


# --- A whole run


def test_what_a_run_tells_and_leaves_behind() -> None:
    ended, recorder = run()
    started = recorder.events[0]
    assert isinstance(started, RunStarted)
    assert started.tokens_per_iter == 4 * 8
    assert started.vocab_size == 256
    assert started.expected_first_loss == pytest.approx(5.5452, abs=1e-4)
    assert started.epochs == pytest.approx(6 * 32 / started.train_tokens)
    assert started.n_decay_params + started.n_nodecay_params == started.n_params + 8 * 16  # wpe
    assert started.peak_flops == 1e12
    assert recorder.events[-1] is ended
    assert ended.reason == "finished"
    assert ended.iters == 6
    assert ended.best_checkpoint is not None
    assert ended.mfu == pytest.approx(started.flops_per_token * ended.tokens_per_second / 1e12)

    assert read_run_config(RUN).n_embd == 16
    assert tomllib.loads((RUN / "config.toml").read_text(encoding="utf-8"))["dataset"] == "data/input"
    environment = json.loads((RUN / "env.json").read_text(encoding="utf-8"))
    assert environment["torch"] == torch.__version__
    assert load_tokenizer(RUN).name == "byte"
    assert [path.name for path in list_checkpoints(RUN)] == ["iter_00000003", "iter_00000006"]


def test_the_same_seed_gives_the_same_run_and_another_one_does_not() -> None:
    losses = []
    for seed in (1, 1, 2):
        _, recorder = run(seed=seed, overwrite=True, dropout=0.2)
        losses.append([event.loss for event in recorder.of(StepLogged)])
    assert losses[0] == losses[1] != losses[2]


def test_overwrite_removes_the_earlier_run_only_once_all_else_is_in_order() -> None:
    run()
    with pytest.raises(NanoGPTError, match="block_size"):
        run(block_size=100_000, overwrite=True)
    assert len(list_checkpoints(RUN)) == 2
    run(max_iters=1, overwrite=True)
    assert [path.name for path in list_checkpoints(RUN)] == ["iter_00000001"]


# --- Resuming


def test_a_resumed_run_uses_its_checkpoint() -> None:
    run(max_iters=3)
    _, recorder = run(max_iters=6, resume=True)
    assert recorder.of(RunStarted)[0].resumed_from_iter == 3
    assert [event.iter_num for event in recorder.of(StepLogged)] == [3, 4, 5]


def test_a_checkpoint_is_recorded_once_and_carries_an_evaluation_that_comes_later() -> None:
    """Bugs: a resumed run told again of the save it came from; what it evaluated there was not kept, so the
    best weights were not known as such and the next continuation evaluated them again."""
    run(max_iters=6, eval_interval=6, save_interval=2)
    shutil.rmtree(list_checkpoints(RUN)[-1])
    _, recorder = run(max_iters=6, eval_interval=6, save_interval=2, resume=True)
    assert [event.iter_num for event in recorder.of(CheckpointSaved)] == [6]
    shutil.rmtree(list_checkpoints(RUN)[-1])
    ended, recorder = run(max_iters=4, resume=True)
    assert [event.iter_num for event in recorder.of(CheckpointSaved)] == [4]
    assert read_checkpoint(list_checkpoints(RUN)[-1]).own_val_loss == ended.final_val_loss
    _, recorder = run(max_iters=4, resume=True)
    assert recorder.of(EvalDone) == recorder.of(CheckpointSaved) == []


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used() -> None:
    run()
    newest = list_checkpoints(RUN)[-1]
    flip_last_byte(newest / "model.safetensors")
    _, recorder = run(resume=True)
    (warning,) = recorder.of(Warned)
    assert str(newest) in warning.message
    assert "model.safetensors is not what was saved" in warning.message
    assert [event.iter_num for event in recorder.of(StepLogged)] == [3, 4, 5]
    assert read_checkpoint(newest).state.iter_num == 6, "the damaged one is replaced by the run's own"


def test_a_run_whose_checkpoints_are_all_damaged_says_how_to_begin_anew() -> None:
    run()
    for path in list_checkpoints(RUN):
        flip_last_byte(path / "optim.safetensors")
    with pytest.raises(NanoGPTError, match="no complete checkpoint to resume from") as caught:
        run(resume=True)
    assert "--overwrite" in caught.value.hint


def test_a_dataset_that_changed_is_refused() -> None:
    run(max_iters=3)
    with pytest.raises(NanoGPTError, match="has changed since iter_00000003") as caught:
        train(tiny_settings(), prepared(TEXT + "One more line.\n"), RUN, resume=True)
    assert "nanogpt train --dataset input" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"), [("n_layer", 3), ("n_embd", 32), ("block_size", 4), ("bias", True)]
)
def test_another_architecture_is_refused(name: str, value: Any) -> None:
    run(max_iters=1)
    with pytest.raises(UsageError, match=f"architecture cannot change on resume: {name} ") as caught:
        run(resume=True, **{name: value})
    assert "--" + name.replace("_", "-") in caught.value.hint


def test_a_checkpoint_beyond_max_iters_is_refused() -> None:
    run(max_iters=6)
    with pytest.raises(UsageError, match="beyond max_iters = 4") as caught:
        run(resume=True, max_iters=4)
    assert "--max-iters 1006" in caught.value.hint


def test_refusals_leave_the_run_as_it_was() -> None:
    run(max_iters=3)
    before = {path: path.read_bytes() for path in sorted(RUN.rglob("*")) if path.is_file()}
    with pytest.raises(UsageError):
        run(resume=True, n_layer=3)
    with pytest.raises(UsageError):
        run(resume=True, max_iters=1)
    assert {path: path.read_bytes() for path in sorted(RUN.rglob("*")) if path.is_file()} == before


# --- torch.compile


class Broken(nn.Module):
    """What torch.compile hands out where the compiler is missing: it fails when it is called."""

    def forward(self, *_tensors: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("\n  InvalidCxxCompiler: no g++ was found\nmore about it")


def refuse(_model: nn.Module) -> nn.Module:
    raise RuntimeError("Dynamo is not supported on this Python")


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        pytest.param(refuse, "Dynamo is not supported on this Python", id="at-once"),
        pytest.param(lambda _model: Broken(), "InvalidCxxCompiler: no g++ was found", id="when-called"),
    ],
)
def test_a_compiler_that_fails_is_one_warning_and_the_run_goes_on(
    compiler: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: the call of torch.compile itself was outside of what is caught."""
    _, eager = run(overwrite=True)
    monkeypatch.setattr(torch, "compile", compiler)
    ended, recorder = run(compile=True, overwrite=True)
    assert len(recorder.of(Compiling)) == 1
    (warning,) = recorder.of(Warned)
    assert warning.message == f"torch.compile failed ({reason}); going on without it"
    assert ended.reason == "finished"
    losses = [[event.loss for event in events.of(StepLogged)] for events in (eager, recorder)]
    assert losses[0] == losses[1], "the attempt left gradients or random numbers behind"


def test_a_compiled_model_is_the_one_that_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Compiled(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> Any:
            calls.append(tensors[0].shape)
            return self.model(*tensors)

    monkeypatch.setattr(torch, "compile", Compiled)
    _, recorder = run(compile=True)
    assert recorder.of(Warned) == []
    assert calls == [(4, 8)] * 7  # the trial and six iterations; evaluations use the bare model


# --- Reading runs back


def test_the_best_or_the_last_checkpoint() -> None:
    run()
    best, last = (load_run(RUN, hardware=cpu_hardware(), which=which) for which in ("best", "last"))
    assert last.checkpoint.state.iter_num == 6
    assert best.checkpoint.own_val_loss == min(
        read_checkpoint(path).own_val_loss or 9 for path in list_checkpoints(RUN)
    )
    one = load_run(RUN / "checkpoints" / "iter_00000003", hardware=cpu_hardware())
    assert one.checkpoint.state.iter_num == 3
    assert one.run_dir == RUN
    assert not one.model.training


def test_the_newest_run_and_the_next_free_name() -> None:
    assert free_run_dir(RUN) == RUN
    with pytest.raises(NanoGPTError, match="no trained run under out/"):
        newest_run()
    run(max_iters=1)
    assert newest_run() == RUN
    assert free_run_dir(RUN) == Path("out/run-2")
    (Path("out/run-2") / "checkpoints").mkdir(parents=True)
    assert free_run_dir(RUN) == Path("out/run-3")
    assert newest_run() == RUN, "a run without a checkpoint has nothing to offer"


@pytest.mark.parametrize(
    ("path", "message"), [("out/none", "there is no run out/none"), ("data", "holds no complete checkpoint")]
)
def test_a_path_that_is_no_run(path: str, message: str) -> None:
    run(max_iters=1)
    with pytest.raises(NanoGPTError, match=message) as caught:
        load_run(path, hardware=cpu_hardware())
    assert "out/run" in caught.value.hint

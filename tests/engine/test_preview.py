"""Samples while training: they come when asked for, disturb nothing, and stop nothing."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.data.tokenizers.base import Tokenizer
from nanogpt_cli.data.tokenizers.char import CharTokenizer
from nanogpt_cli.engine import preview as module
from nanogpt_cli.engine.checkpoint import list_checkpoints, read_checkpoint
from nanogpt_cli.engine.preview import Preview, preview_of
from nanogpt_cli.engine.train import train
from nanogpt_cli.engine.trainer import Trainer
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import EvalDone, SampleDrawn, StepLogged, Warned
from tests.engine.datasets import prepared, tiny_settings
from tests.engine.tiny import VOCAB_SIZE, Recorder, assert_same_tensors, build_trainer, snapshot, tiny_config

LETTERS = CharTokenizer("\nabcdefghijkl")


def preview(**changes: Any) -> Preview:
    fields: dict[str, Any] = {
        "tokenizer": LETTERS,
        "prompt": "\n",
        "prompt_ids": np.array([0]),
        "tokens": 12,
        "seed": 1,
    }
    return Preview(**{**fields, **changes})


def trained(
    folder: Path, sampling: Preview | None, recorder: Recorder | None = None, **changes: Any
) -> Trainer:
    config = tiny_config(**{"sample_interval": 2, "max_iters": 6, "dropout": 0.2, **changes})
    trainer = build_trainer(folder, config, reporter=recorder or Recorder())
    trainer.preview = sampling
    trainer.run()
    return trainer


@pytest.mark.parametrize("arch", ["gpt2", "nanochat"])
def test_a_run_with_samples_is_bit_equal_to_one_without(arch: str, tmp_path: Path) -> None:
    without, with_samples = Recorder(), Recorder()
    plain = trained(tmp_path / "plain", None, without, arch=arch)
    sampled = trained(tmp_path / "sampled", preview(), with_samples, arch=arch)
    assert len(with_samples.of(SampleDrawn)) == 4
    assert_same_tensors(snapshot(sampled), snapshot(plain))
    assert [e.loss for e in with_samples.of(StepLogged)] == [e.loss for e in without.of(StepLogged)]
    assert [e.val_loss for e in with_samples.of(EvalDone)] == [e.val_loss for e in without.of(EvalDone)]
    assert sampled.raw_model.training


def test_the_dropout_generator_is_not_touched(tmp_path: Path) -> None:
    trainer = build_trainer(tmp_path)
    before = torch.get_rng_state()
    trainer.raw_model.eval()
    preview().draw(0, trainer.raw_model, trainer.hardware)
    assert torch.equal(torch.get_rng_state(), before)
    assert not trainer.raw_model.training  # as it was


def test_samples_come_at_their_interval_and_at_the_end(tmp_path: Path) -> None:
    recorder = Recorder()
    trained(tmp_path, preview(), recorder, max_iters=7, sample_interval=3)
    assert [event.iter_num for event in recorder.of(SampleDrawn)] == [0, 3, 6, 7]
    assert {event.tokens for event in recorder.of(SampleDrawn)} == {12}


def test_a_sample_is_the_same_draws_by_other_weights(tmp_path: Path) -> None:
    trainer = build_trainer(tmp_path)
    first, again = (preview().draw(0, trainer.raw_model, trainer.hardware).text for _ in range(2))
    assert first == again
    with torch.no_grad():
        for parameter in trainer.raw_model.parameters():
            parameter.add_(torch.randn_like(parameter))
    assert preview().draw(0, trainer.raw_model, trainer.hardware).text != first


def test_a_resumed_run_does_not_draw_its_checkpoints_sample_again(tmp_path: Path) -> None:
    trained(tmp_path, preview(), max_iters=4, sample_interval=4)
    recorder = Recorder()
    checkpoint = read_checkpoint(list_checkpoints(tmp_path)[-1])
    config = tiny_config(sample_interval=4, max_iters=9)
    trainer = build_trainer(tmp_path, config, reporter=recorder, checkpoint=checkpoint)
    trainer.preview = preview()
    trainer.run()
    assert [event.iter_num for event in recorder.of(SampleDrawn)] == [8, 9]


def test_the_clock_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    real = module.generate

    def slow(*args: Any, **options: Any) -> Any:
        now[0] += 100.0
        return real(*args, **options)

    monkeypatch.setattr(module, "generate", slow)
    trained_ms = 250.0

    def batches(self: Trainer, iter_num: int, real: Any = Trainer._micro_batches) -> Any:
        now[0] += trained_ms / 1000
        return real(self, iter_num)

    monkeypatch.setattr(Trainer, "_micro_batches", batches)
    recorder = Recorder()
    trained(tmp_path, preview(), recorder)
    assert [event.step_ms for event in recorder.of(StepLogged)] == pytest.approx([trained_ms] * 6)
    assert {event.sample_ms for event in recorder.of(SampleDrawn)} == {100_000.0}


@pytest.mark.parametrize("error", [RuntimeError("no such kernel\nat line 3"), MemoryError(), ValueError("x")])
def test_a_sample_that_fails_is_the_last_and_the_run_goes_on(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_options: object) -> Any:
        raise error

    monkeypatch.setattr(module, "generate", fail)
    recorder = Recorder()
    trainer = trained(tmp_path, preview(), recorder)
    (warning,) = recorder.of(Warned)
    assert "no sample at iteration 0" in warning.message
    assert "at line 3" not in warning.message
    assert recorder.of(StepLogged)[-1].iter_num == 5
    assert trainer.raw_model.training


# --- What is drawn with


def wanted(tokenizer: Tokenizer | None, recorder: Recorder, **changes: Any) -> Preview | None:
    dataset = dataclasses.replace(prepared(), tokenizer=tokenizer)
    config = TrainConfig(**{"sample_interval": 5, **changes})
    return preview_of(config, dataset, recorder)


def test_nothing_is_drawn_unless_asked_for() -> None:
    assert wanted(LETTERS, Recorder(), sample_interval=0) is None
    assert wanted(LETTERS, Recorder(), eval_only=True) is None


def test_a_dataset_without_a_tokenizer_is_told_once() -> None:
    recorder = Recorder()
    assert wanted(None, recorder) is None
    (warning,) = recorder.of(Warned)
    assert "has no tokenizer" in warning.message


def test_the_prompt_is_a_new_line_or_what_a_text_without_one_has() -> None:
    found = wanted(LETTERS, Recorder())
    assert found is not None
    assert (found.prompt, found.prompt_ids.tolist()) == ("\n", [0])
    one_line = wanted(CharTokenizer("abc"), Recorder())
    assert one_line is not None
    assert (one_line.prompt, one_line.prompt_ids.tolist()) == ("a", [0])


def test_a_prompt_the_tokenizer_does_not_know_is_an_error_before_the_run() -> None:
    dataset = prepared(tokenizer="char")
    with pytest.raises(NanoGPTError, match="Ω"):
        train(tiny_settings(sample_interval=5, sample_prompt="Ω"), dataset, Path("run"))
    assert not Path("run").exists()


def test_a_stop_token_ends_the_text_and_not_the_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All ranks of a sharded model must make the same number of steps."""
    asked: list[dict[str, Any]] = []

    def drawn(*_args: object, **options: Any) -> list[int]:
        asked.append(options)
        return [1, 2, VOCAB_SIZE - 1, 3]

    monkeypatch.setattr(module, "generate", drawn)
    monkeypatch.setattr(CharTokenizer, "end_of_text", VOCAB_SIZE - 1)
    trainer = build_trainer(tmp_path)
    event = preview().draw(0, trainer.raw_model, trainer.hardware)
    assert (event.text, event.tokens) == ("ab", 2)
    assert asked[0].get("stop_token") is None

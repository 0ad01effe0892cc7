"""A dry run knows what the run will do: sizes as the real model's, evaluations as the real loop's."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_cli.data.dataset import Dataset
from nanogpt_cli.engine import forecast as forecast_module
from nanogpt_cli.engine import probe
from nanogpt_cli.engine.device import choose_hardware
from nanogpt_cli.engine.forecast import forecast, n_evaluations
from nanogpt_cli.engine.free_memory import available_memory
from nanogpt_cli.engine.models.registry import new_model
from nanogpt_cli.engine.start import model_shape, padded_vocab_size
from nanogpt_cli.engine.train import train
from nanogpt_cli.events import EvalDone, NullReporter, RunForecast, RunStarted
from tests.engine.datasets import prepared, tiny_settings
from tests.engine.tiny import Recorder, tiny_config


def predicted(dataset: Dataset, n_processes: int = 1, **settings: Any) -> RunForecast:
    loaded = tiny_settings(**settings)
    return forecast(
        loaded,
        dataset,
        Path("out/run"),
        resume=False,
        n_processes=n_processes,
        reporter=NullReporter(),
    )[0]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe of three steps, however short they are."""
    monkeypatch.setattr(probe, "_TIMED_SECONDS", 0.0)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("settings", [{}, {"arch": "nanochat", "optimizer": "muon"}, {"max_iters": 7}])
def test_it_says_what_the_run_then_says_itself(settings: dict[str, Any]) -> None:
    dataset = prepared()
    found = predicted(dataset, **settings)
    recorder = Recorder()
    train(tiny_settings(**settings), dataset, Path("out/run"), reporter=recorder)
    (started,) = [event for event in recorder.events if isinstance(event, RunStarted)]
    for name in (
        "run_dir",
        "device",
        "dtype",
        "compile",
        "world_size",
        "tokenizer",
        "vocab_size",
        "n_params",
    ):
        assert getattr(found, name) == getattr(started, name), name
    for name in ("train_tokens", "val_tokens", "flops_per_token"):
        assert getattr(found, name) == getattr(started, name), name
    evaluations = [event for event in recorder.events if isinstance(event, EvalDone)]
    assert found.n_evals == len(evaluations)
    assert found.timing.basis == "measured"
    assert found.timing.first_loss == pytest.approx(started.expected_first_loss, abs=0.5)


@given(
    max_iters=st.integers(0, 60),
    interval=st.integers(1, 25),
    first=st.integers(0, 60),
    eval_only=st.booleans(),
)
def test_evaluations_are_counted_as_the_loop_does_them(
    max_iters: int, interval: int, first: int, eval_only: bool
) -> None:
    config = dataclasses.replace(
        tiny_config(), max_iters=max_iters, eval_interval=interval, eval_only=eval_only
    )
    counted = 0
    for iter_num in range(min(first, max_iters), max_iters + 1):
        last = iter_num == max_iters or eval_only
        counted += last or iter_num % interval == 0
        if last:
            break
    assert n_evaluations(config, first) == counted


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "settings", [{}, {"arch": "nanochat"}, {"bias": True, "n_embd": 64, "block_size": 256}]
)
def test_parameters_by_place(settings: dict[str, Any]) -> None:
    """Also where matrices share their sizes: 256 bytes, 256 positions, 4 · 64 hidden units."""
    dataset = prepared()
    config = tiny_settings(**settings).config
    found = predicted(dataset, **settings)
    model = new_model(model_shape(config, padded_vocab_size(dataset)))
    total = sum(p.numel() for p in model.parameters())
    assert found.n_params_total == total
    assert found.n_params == model.num_params()
    tables = 1 if config.arch == "gpt2" else 2
    assert found.n_vocab_params == tables * 256 * config.n_embd
    norm = config.n_embd * (1 + config.bias) if config.arch == "gpt2" else 0
    positions = total - found.n_params
    assert total == 2 * found.n_block_params + found.n_vocab_params + positions + norm
    assert found.n_bias_params == sum(p.numel() for n, p in model.named_parameters() if n.endswith("bias"))


@pytest.mark.usefixtures("quick")
def test_without_memory_nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_module, "available_memory", lambda _hardware: 1000)
    monkeypatch.setattr(probe, "probe", None)
    found = predicted(prepared())
    assert found.timing.basis == "estimated"
    assert found.timing.first_loss is None
    assert found.available_bytes == 1000


@pytest.mark.usefixtures("quick")
def test_a_probe_that_runs_out_of_memory_is_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(probe, "probe", fails)
    assert predicted(prepared()).timing.basis == "estimated"


@pytest.mark.usefixtures("quick")
def test_a_large_micro_batch_is_tried_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "probe_rows", lambda *_args: 1)
    found = predicted(prepared())
    assert (found.timing.basis, found.timing.probe_rows) == ("scaled", 1)


def test_the_slower_the_device_the_fewer_rows() -> None:
    config = tiny_config(batch_size=64)
    rows = [
        probe.probe_rows(
            config,
            probe.Work(micro_batches=1, eval_batches=1, share=1.0, flops_per_token=1e9, peak_flops=peak),
        )
        for peak in (1e15, 1.2e11, 1e9)
    ]
    assert rows[0] == 64
    assert 0 < rows[1] < 64
    assert rows[2] == 0


@pytest.mark.usefixtures("quick")
def test_processes_share_a_cpu() -> None:
    """Its cores and its memory; on GPUs each process has its own."""
    dataset = prepared()
    one = predicted(dataset, gradient_accumulation_steps=2)
    two = predicted(dataset, gradient_accumulation_steps=2, n_processes=2)
    assert two.world_size == 2
    assert one.available_bytes is not None
    assert two.available_bytes is not None
    assert two.available_bytes < 0.7 * one.available_bytes


def test_an_estimate_by_hand() -> None:
    config = tiny_config()  # 4 · 8 tokens
    work = probe.Work(micro_batches=3, eval_batches=5, share=0.5, flops_per_token=1e6, peak_flops=1e9)
    timing = probe.timing_by_peak(config, work)
    micro_ms = 1000 * 32 * 1e6 / (probe.ASSUMED_MFU * 1e9)
    assert timing.iter_ms == pytest.approx(1.5 * micro_ms)
    assert timing.eval_ms == pytest.approx(5 * micro_ms / 3)  # two splits, half of each, a third of a step


def test_free_memory_is_some_bytes() -> None:
    free = available_memory(choose_hardware(tiny_config()).device)
    assert free is None or 2**20 < free < 2**50

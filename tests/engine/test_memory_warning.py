"""A run says before it starts that it will hardly fit, and says nothing, at no cost, where it fits."""

from pathlib import Path
from typing import Any

import pytest

from nanogpt_cli.config.load import load_config
from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.engine import flops, memory, out_of_memory
from nanogpt_cli.engine import train as module
from nanogpt_cli.engine.device import choose_hardware
from nanogpt_cli.engine.memory_warning import upper_bound, warn_of_memory
from nanogpt_cli.engine.models.registry import new_model
from nanogpt_cli.engine.out_of_memory import Attempt
from nanogpt_cli.engine.start import model_shape
from nanogpt_cli.events import Warned
from tests.engine.datasets import prepared, tiny_settings
from tests.engine.tiny import Recorder, tiny_config

MB = 10**6
LARGER: dict[str, Any] = {"n_embd": 256, "block_size": 256, "batch_size": 64}


def warnings(config: TrainConfig, free_bytes: int | None, **attempt: Any) -> list[str]:
    recorder = Recorder()
    made = Attempt(config=config, run_dir=Path("out/run"), vocab_size=65, free_bytes=None, **attempt)
    made.hardware = choose_hardware(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(out_of_memory, "available_memory", lambda _device: free_bytes)
        warn_of_memory(made, recorder)
    return [event.message for event in recorder.of(Warned)]


def test_what_does_not_fit_is_told_with_the_cheapest_change() -> None:
    (told,) = warnings(tiny_config(**LARGER), 200 * MB)
    assert told.startswith("this run needs about 7")
    assert "MB of memory and 200 MB are free: it may well fail; --batch-size 8 " in told
    assert "--gradient-accumulation-steps 8 would need about 1" in told


def test_nothing_is_offered_where_nothing_fits() -> None:
    (told,) = warnings(tiny_config(**LARGER), 2 * MB)
    assert told.endswith("2 MB are free: it may well fail")


def test_nothing_is_said_where_it_fits_or_nobody_knows() -> None:
    config = tiny_config(**LARGER)
    assert warnings(config, 2000 * MB) == []
    assert warnings(config, None) == []


def test_an_evaluation_alone_is_not_taken_for_training() -> None:
    assert warnings(tiny_config(**LARGER, eval_only=True), 200 * MB) == []


def test_processes_share_the_memory_of_their_machine() -> None:
    config = tiny_config(**LARGER, gradient_accumulation_steps=4)
    assert warnings(config, 1000 * MB) == []
    assert len(warnings(config, 1000 * MB, world_size=4)) == 1


def test_a_run_that_clearly_fits_costs_no_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a second when it is the first thing that PyTorch does without storage."""
    monkeypatch.setattr(out_of_memory, "estimate_memory", pytest.fail)
    assert warnings(tiny_config(), 4000 * MB) == []


@pytest.mark.parametrize("preset", ["cpu-best", "cpu-tiny", "shakespeare-char"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_bound_is_above_the_estimate(preset: str, dtype: str) -> None:
    config = load_config(preset=preset, flags={"device": "cpu", "dtype": dtype, "compile": "False"}).config
    estimate = memory.estimate_memory(config, 65, choose_hardware(config)).total_bytes
    assert 1.5 * estimate < upper_bound(config, 65) < 8 * estimate


@pytest.mark.parametrize(
    "changes",
    [
        {"arch": "gpt2", "bias": True},
        {"arch": "gpt2", "dropout": 0.1},
        {"arch": "nanochat", "n_layer": 6},
        {"arch": "nanochat", "ngram_order": 4, "ngram_rows": 5000},
    ],
)
def test_the_bound_counts_every_parameter(changes: dict[str, Any]) -> None:
    config = tiny_config(**{**LARGER, "batch_size": 1, "block_size": 1, **changes})
    weights = list(new_model(model_shape(config, 65)).parameters())
    needed = sum((24 if weight.requires_grad else 4) * weight.numel() for weight in weights)
    assert needed < upper_bound(config, 65) - (64 << 20)


def test_a_run_asks_before_anything_large_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked(Exception):
        pass

    def asked(*_: object) -> None:
        raise Asked

    monkeypatch.setattr(flops, "measure_gemm", lambda _hardware: 1e12)
    monkeypatch.setattr(module, "starting_point", pytest.fail)
    monkeypatch.setattr(module, "warn_of_memory", asked)
    with pytest.raises(Asked):
        module.train(tiny_settings(), prepared(), Path("out/run"))

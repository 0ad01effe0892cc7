"""In which mode torch.compile works, and what happens where it fails; nothing is compiled here."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from nanogpt_cli.config.load import load_config
from nanogpt_cli.engine.compiling import AUTOTUNE, DEFAULT, GRAPHS, compile_mode, compile_model
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.models.registry import new_model
from nanogpt_cli.engine.start import model_shape
from nanogpt_cli.events import Warned
from tests.engine.tiny import VOCAB_SIZE, Recorder, cpu_hardware, tiny_config

GPU = dataclasses.replace(cpu_hardware(), device=torch.device("cuda", 0), compile=True)
CPU = dataclasses.replace(cpu_hardware(), compile=True)


def mode_of(preset: str, vocab_size: int, world_size: int = 1, **flags: str) -> str:
    config = load_config(preset=preset, flags=dict(flags), environment={}).config
    with torch.device("meta"):
        model = new_model(model_shape(config, vocab_size))
    return compile_mode(model, config, GPU, world_size=world_size)


def test_small_models_get_graphs_and_long_runs_tried_kernels() -> None:
    assert mode_of("shakespeare-char", 65) == GRAPHS
    assert mode_of("gpt2-124m", 50304) == AUTOTUNE
    assert mode_of("gpt2-124m", 50304, max_iters="2000") == DEFAULT  # a quarter of an hour on eight
    assert mode_of("finetune-gpt2", 50304, n_layer="12", n_head="12", n_embd="768") == DEFAULT


def test_graphs_need_one_micro_batch_of_one_process() -> None:
    assert mode_of("shakespeare-char", 65, gradient_accumulation_steps="2") == DEFAULT
    assert mode_of("shakespeare-char", 65, world_size=2, gradient_accumulation_steps="2") == DEFAULT


def test_a_cpu_has_neither() -> None:
    model = new_model(model_shape(tiny_config(), VOCAB_SIZE))
    assert compile_mode(model, tiny_config(), CPU, world_size=1) == DEFAULT


WARNING = "torch.compile failed (default does not work); going on without it"


class Compiled(nn.Module):
    """What torch.compile hands out: it fails in some modes, perhaps only when it is called again."""

    def __init__(self, model: LanguageModel, fails: dict[str, int], mode: str = DEFAULT) -> None:
        super().__init__()
        self.model, self.mode, self.passes = model, mode, 0
        self.fails_at = fails.get(mode, 100)

    def forward(self, *tensors: torch.Tensor) -> Any:
        self.passes += 1
        if self.passes == self.fails_at:
            raise RuntimeError(f"{self.mode} does not work")
        return self.model(*tensors)


@pytest.mark.parametrize(
    ("fails", "mode", "warned"),
    [
        ({}, GRAPHS, []),
        ({GRAPHS: 3}, DEFAULT, []),  # when the graph is replayed
        (
            {GRAPHS: 1, DEFAULT: 1},
            None,
            ["torch.compile failed (default does not work); going on without it"],
        ),
    ],
)
def test_the_default_mode_is_tried_before_none(
    fails: dict[str, int], mode: str | None, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nanogpt_cli.engine.compiling.compile_mode", lambda *_, **__: GRAPHS)
    monkeypatch.setattr(torch, "compile", lambda model, **options: Compiled(model, fails, **options))
    model, recorder = new_model(model_shape(tiny_config(), VOCAB_SIZE)), Recorder()
    given = compile_model(model, tiny_config(), CPU, recorder)
    assert getattr(given, "mode", None) == mode
    assert [event.message for event in recorder.of(Warned)] == warned
    assert all(parameter.grad is None for parameter in model.parameters())

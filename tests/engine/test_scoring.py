"""The fast loss against the models' own forward, in both formats and for whatever takes the slow way."""

from collections.abc import Callable

import pytest
import torch

from nanogpt_cli.engine import scoring
from nanogpt_cli.engine.device import choose_inference_hardware
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.scoring import build_score
from tests.engine.test_decoders import gpt2, nanochat
from tests.engine.tiny import cpu_hardware

MODELS: dict[str, Callable[[], LanguageModel]] = {
    "gpt2": gpt2,
    "gpt2-plain": lambda: gpt2(bias=False, dropout=0.5),
    "gpt2-tanh": lambda: gpt2(activation="gelu_new"),
    "gpt2-wide": lambda: gpt2(n_embd=64, n_head=2),
    "nanochat": lambda: nanochat(ngram_order=3, ngram_rows=32),
}
each_model = pytest.mark.parametrize("name", MODELS)
each_shape = pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 12), (5, 7)])


def batch(rows: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets as evaluation cuts them: views of one tensor."""
    windows = torch.randint(13, (rows, length + 1), generator=torch.Generator().manual_seed(rows))
    return windows[:, :-1], windows[:, 1:]


@each_model
@each_shape
def test_the_loss_is_forwards(name: str, rows: int, length: int) -> None:
    model, (inputs, targets) = MODELS[name](), batch(rows, length)
    with torch.inference_mode():
        found = build_score(model, cpu_hardware())(inputs, targets)
        expected = model(inputs, targets)[1]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-6)


@each_model
def test_bfloat16_is_what_autocast_computes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the rounding of bfloat16, on any processor; here of logits of about 10."""
    monkeypatch.setattr(scoring, "has_fast_cpu_bfloat16", lambda: True)
    model, (inputs, targets) = MODELS[name](), batch(5, 12)
    hardware = choose_inference_hardware("cpu", "bfloat16")
    with torch.inference_mode():
        found = build_score(model, hardware)(inputs, targets)
        with hardware.autocast():
            expected = model(inputs, targets)[1]
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)
    assert found.dtype == torch.float32


@pytest.mark.parametrize(("name", "fast"), [("gpt2", True), ("nanochat", False)])
def test_who_takes_the_fast_way(name: str, fast: bool) -> None:
    assert isinstance(build_score(MODELS[name](), cpu_hardware()), scoring._GPT2Score) == fast


def test_without_bfloat16_in_hardware_it_is_left_to_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    hardware = choose_inference_hardware("cpu", "bfloat16")
    monkeypatch.setattr(scoring, "has_fast_cpu_bfloat16", lambda: False)
    assert not isinstance(build_score(gpt2(), hardware), scoring._GPT2Score)

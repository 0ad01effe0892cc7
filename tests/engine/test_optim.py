"""AdamW's groups, and its step against the paper's formulas."""

import pytest
import torch
from torch import Tensor

from nanogpt_cli.engine.models.gpt2 import GPT2
from nanogpt_cli.engine.optim import build_adamw, decay_groups
from tests.engine.tiny import CPU, shape_of, tiny_config


@pytest.mark.parametrize("bias", [True, False])
def test_every_parameter_is_in_exactly_one_group(bias: bool) -> None:
    config = tiny_config(bias=bias, weight_decay=0.3)
    model = GPT2(shape_of(config))
    groups = build_adamw(model, config, CPU).param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    grouped = [id(p) for group in groups for p in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in model.parameters()}


def test_only_matrices_and_embeddings_decay() -> None:
    model = GPT2(shape_of(tiny_config(bias=True)))
    names = {id(p): name for name, p in model.named_parameters()}
    decay, no_decay = ({names[id(p)] for p in group} for group in decay_groups(model))
    assert all(name.endswith("bias") or ".ln_" in name for name in no_decay)
    assert not any(name.endswith("bias") or ".ln_" in name for name in decay)
    assert {"transformer.wte.weight", "transformer.wpe.weight"} <= decay


def test_a_frozen_parameter_is_in_no_group() -> None:
    model = GPT2(shape_of(tiny_config()))
    model.transformer.wpe.weight.requires_grad_(False)
    assert all(p is not model.transformer.wpe.weight for group in decay_groups(model) for p in group)


def test_steps_follow_the_papers_formulas() -> None:
    """Loshchilov & Hutter 2019, algorithm 2, the decay scaled by the rate as torch and nanoGPT do."""
    config = tiny_config(bias=True, learning_rate=3e-2, beta1=0.8, beta2=0.97, weight_decay=0.2)
    model = GPT2(shape_of(config))
    optimizer = build_adamw(model, config, CPU)
    expected = {name: p.detach().clone().double() for name, p in model.named_parameters()}
    first: dict[str, Tensor] = {name: torch.zeros_like(p) for name, p in expected.items()}
    second: dict[str, Tensor] = {name: torch.zeros_like(p) for name, p in expected.items()}
    for step in range(1, 5):
        for name, parameter in model.named_parameters():
            parameter.grad = torch.randn_like(parameter)
            g = parameter.grad.double()
            first[name] = 0.8 * first[name] + 0.2 * g
            second[name] = 0.97 * second[name] + 0.03 * g**2
            m_hat = first[name] / (1 - 0.8**step)
            v_hat = second[name] / (1 - 0.97**step)
            decay = 0.2 if parameter.dim() >= 2 else 0.0
            expected[name] = (1 - 3e-2 * decay) * expected[name] - 3e-2 * m_hat / (v_hat.sqrt() + 1e-8)
        optimizer.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach().double(), expected[name], rtol=0, atol=1e-6, msg=name)

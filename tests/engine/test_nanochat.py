"""The nanochat architecture: logits and gradients are those of transformers' NanoChatForCausalLM."""

import dataclasses
import math

import pytest
import torch
from transformers import NanoChatConfig as TheirConfig
from transformers import NanoChatForCausalLM

from nanogpt_cli.engine import flops
from nanogpt_cli.engine.models.nanochat import NanoChat, NanoChatConfig
from nanogpt_cli.engine.models.registry import build_model

SHAPES = [
    NanoChatConfig(vocab_size=31, block_size=12, n_layer=1, n_head=1, n_embd=8),
    NanoChatConfig(vocab_size=50, block_size=16, n_layer=3, n_head=4, n_embd=24),
    NanoChatConfig(vocab_size=97, block_size=33, n_layer=2, n_head=2, n_embd=64),
]


def theirs(shape: NanoChatConfig) -> NanoChatForCausalLM:
    config = TheirConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.n_embd,
        intermediate_size=4 * shape.n_embd,
        num_hidden_layers=shape.n_layer,
        num_attention_heads=shape.n_head,
        max_position_embeddings=shape.block_size,
        pad_token_id=None,
    )
    return NanoChatForCausalLM(config).eval()


def pair(shape: NanoChatConfig, seed: int) -> tuple[NanoChat, NanoChatForCausalLM]:
    """Both models with equal random weights, none of them zero."""
    torch.manual_seed(seed)
    ours, other = NanoChat(shape).eval(), theirs(shape)
    weights = {name: 0.3 * torch.randn_like(tensor) for name, tensor in ours.state_dict().items()}
    ours.load_state_dict(weights)
    result = other.load_state_dict(weights)
    assert not result.missing_keys
    return ours, other


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", [0, 1])
def test_logits_loss_and_gradients_are_those_of_transformers(shape: NanoChatConfig, seed: int) -> None:
    ours, other = pair(shape, seed)
    tokens = torch.randint(shape.vocab_size, (3, shape.block_size + 1))
    idx, targets = tokens[:, :-1], tokens[:, 1:]
    logits, loss = ours(idx, targets)
    expected = other(idx).logits
    torch.testing.assert_close(logits, expected, atol=2e-5, rtol=2e-5)
    last, nothing = ours(idx)
    assert nothing is None
    torch.testing.assert_close(last[:, 0], expected[:, -1], atol=2e-5, rtol=2e-5)

    assert loss is not None
    torch.nn.functional.cross_entropy(expected.flatten(0, 1), targets.flatten()).backward()
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in other.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-5, rtol=1e-4, msg=name)


def test_no_token_sees_what_follows() -> None:
    ours, _ = pair(SHAPES[1], 2)
    idx = torch.randint(50, (1, 16))
    changed = idx.clone()
    changed[0, 10:] = (changed[0, 10:] + 1) % 50
    before, after = (ours(x, x)[0] for x in (idx, changed))
    torch.testing.assert_close(before[:, :10], after[:, :10])
    assert not torch.allclose(before[:, 10:], after[:, 10:])


def test_it_begins_knowing_nothing() -> None:
    torch.manual_seed(0)
    model = NanoChat(SHAPES[1])
    idx = torch.randint(50, (4, 16))
    logits, loss = model(idx, idx)
    assert torch.equal(logits, torch.zeros_like(logits))  # the head is zero: every token is equally likely
    assert loss is not None
    assert loss.item() == pytest.approx(math.log(50))
    query = model.get_parameter("model.layers.0.self_attn.q_proj.weight")
    assert query.std().item() == pytest.approx(24**-0.5, rel=0.1)


def test_flops_leave_the_looked_up_embedding_out() -> None:
    model = NanoChat(SHAPES[1])
    matrices = 3 * 12 * 24**2 + 50 * 24  # 3 layers of 12 C², and the head
    assert model.num_matmul_params() == matrices
    assert flops.model_flops_per_token(model) == 6 * matrices + 12 * 3 * 4 * 6 * 16


def test_attention_dropout_is_only_for_training() -> None:
    shape = dataclasses.replace(SHAPES[1], dropout=0.5)
    ours, _ = pair(SHAPES[1], 3)
    model = build_model(shape, ours.state_dict())
    idx = torch.randint(50, (1, 16))
    assert not torch.equal(model.train()(idx)[0], model(idx)[0])
    torch.testing.assert_close(model.eval()(idx)[0], ours(idx)[0])

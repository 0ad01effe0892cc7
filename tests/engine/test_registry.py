"""Models built from weights: nothing is drawn that is thrown away."""

import pytest
import torch

from nanogpt_cli.engine.models.base import ModelConfig
from nanogpt_cli.engine.models.gpt2 import GPT2Config
from nanogpt_cli.engine.models.nanochat import NanoChatConfig
from nanogpt_cli.engine.models.registry import build_model, new_model, skeleton

SHAPES = (
    GPT2Config(vocab_size=13, block_size=8, n_layer=2, n_head=2, n_embd=16, bias=True),
    NanoChatConfig(vocab_size=13, block_size=8, n_layer=2, n_head=2, n_embd=16, ngram_order=3, ngram_rows=7),
)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.arch)
def test_a_model_from_weights_is_the_one_they_were_taken_from(shape: ModelConfig) -> None:
    model = new_model(shape).eval()
    weights = {k: v.clone() for k, v in model.state_dict().items() if k not in model.tied}
    same = build_model(shape, weights).eval()
    idx = torch.arange(8)[None, :]
    assert torch.equal(same(idx)[0], model(idx)[0])
    trained = dict(same.named_parameters())
    assert {name: p.requires_grad for name, p in trained.items()} == {
        name: p.requires_grad for name, p in model.named_parameters()
    }
    assert list(trained) == [name for name, _ in model.named_parameters()], "what is tied is tied again"


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.arch)
def test_only_a_new_model_draws_random_numbers(shape: ModelConfig) -> None:
    weights = new_model(shape).state_dict()
    before = torch.get_rng_state()
    build_model(shape, weights)
    skeleton(shape)
    assert torch.equal(torch.get_rng_state(), before)
    new_model(shape)
    assert not torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.arch)
def test_a_skeleton_has_the_shapes_and_no_storage(shape: ModelConfig) -> None:
    model, bones = new_model(shape), skeleton(shape)
    assert {parameter.device.type for parameter in bones.parameters()} == {"meta"}
    assert {k: v.shape for k, v in bones.state_dict().items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }
    assert bones.num_params() == model.num_params()

"""Decoders against the models' own forward: every position, every way to cut the text, both architectures."""

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nanogpt_cli.engine.decoders import build_decoder
from nanogpt_cli.engine.device import choose_inference_hardware
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.models.decoder import Decoder, ForwardDecoder
from nanogpt_cli.engine.models.gpt2 import GPT2, GPT2Config
from nanogpt_cli.engine.models.nanochat import NanoChat, NanoChatConfig
from tests.engine.tiny import cpu_hardware

SHAPE: dict[str, Any] = {"vocab_size": 13, "block_size": 12, "n_layer": 2, "n_head": 2, "n_embd": 16}


def gpt2(**changes: Any) -> LanguageModel:
    return randomised(GPT2(GPT2Config(**{**SHAPE, "bias": True, **changes})))


def nanochat(**changes: Any) -> LanguageModel:
    return randomised(NanoChat(NanoChatConfig(**{**SHAPE, **changes})))


def randomised(model: LanguageModel) -> LanguageModel:
    torch.manual_seed(3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=0.02, std=0.3)
    return model.eval()


MODELS = {
    "gpt2": gpt2,
    "gpt2-plain": lambda: gpt2(bias=False, dropout=0.5),
    "gpt2-tanh": lambda: gpt2(activation="gelu_new"),
    "nanochat": nanochat,
    "nanochat-softcap": lambda: nanochat(softcap=2.0, dropout=0.5),
    "nanochat-ngrams": lambda: nanochat(ngram_order=3, ngram_rows=32),
    # Wide enough for a whole prompt's GELU to be torch's, and a single token's not.
    "gpt2-wide": lambda: gpt2(n_embd=256, n_head=4),
    # Large enough for oneDNN's products: 1024 · 1024 elements and more.
    "gpt2-large": lambda: gpt2(n_embd=1024, n_head=4, n_layer=1),
}
each_model = pytest.mark.parametrize("name", MODELS)


def decoder_of(model: LanguageModel, batch: int = 1) -> Decoder:
    decoder = build_decoder(model, cpu_hardware(), SHAPE["vocab_size"])
    decoder.start(batch, SHAPE["block_size"])
    return decoder


def forward(model: LanguageModel, idx: Tensor) -> Tensor:
    """Logits after every prefix of idx (B, T): (B, T, V), from the training path."""
    with torch.no_grad():
        return model(idx, idx)[0]


def read(decoder: Decoder, idx: Tensor) -> Tensor:
    with torch.inference_mode():
        return decoder.read(idx)


def tokens(rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(13, (rows, length), generator=torch.Generator().manual_seed(seed))


@each_model
@given(
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=6), rows=st.integers(1, 3), seed=st.integers(0, 99)
)
@settings(max_examples=12, deadline=None)
def test_logits_are_forwards_however_the_text_is_cut(
    name: str, cuts: list[int], rows: int, seed: int
) -> None:
    """A prompt in one pass, then tokens one by one or several at once: equal to 1e-5 after each."""
    model = MODELS[name]()
    idx = tokens(rows, 12, seed)
    expected = forward(model, idx)
    decoder, start = decoder_of(model, rows), 0
    for length in cuts:
        end = min(start + length, 12)
        if end == start:
            break
        logits = read(decoder, idx[:, start:end])
        torch.testing.assert_close(logits, expected[:, end - 1], atol=1e-5, rtol=1e-5)
        assert decoder.length == end
        start = end


@each_model
def test_one_token_at_a_time(name: str) -> None:
    model = MODELS[name]()
    idx = tokens(2, 12)
    decoder = decoder_of(model, 2)
    steps = torch.stack([read(decoder, idx[:, t : t + 1]) for t in range(12)], dim=1)
    torch.testing.assert_close(steps, forward(model, idx), atol=1e-5, rtol=1e-5)


@each_model
def test_forgetting_begins_at_position_0_again(name: str) -> None:
    """What was read before has no part in what comes after, although the buffer still holds it."""
    model = MODELS[name]()
    decoder = decoder_of(model)
    read(decoder, tokens(1, 12, seed=1))
    decoder.forget()
    assert decoder.length == 0
    idx = tokens(1, 5, seed=2)
    torch.testing.assert_close(read(decoder, idx), forward(model, idx)[:, -1], atol=1e-5, rtol=1e-5)


@each_model
def test_rows_can_leave(name: str) -> None:
    model = MODELS[name]()
    idx = tokens(3, 8)
    decoder = decoder_of(model, 3)
    read(decoder, idx[:, :5])
    decoder.keep([0, 2])
    rest = read(decoder, idx[[0, 2], 5:])
    torch.testing.assert_close(rest, forward(model, idx)[[0, 2], -1], atol=1e-5, rtol=1e-5)


@each_model
def test_padding_of_the_vocabulary_has_no_logits(name: str) -> None:
    model = MODELS[name]()
    decoder = build_decoder(model, cpu_hardware(), 9)
    decoder.start(1, 12)
    idx = tokens(1, 4)
    logits = read(decoder, idx)
    assert logits.shape == (1, 9)
    torch.testing.assert_close(logits, forward(model, idx)[:, -1, :9], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "gpt2-tanh", "nanochat"])
@pytest.mark.parametrize("fast", [True, False])
def test_bfloat16_is_what_autocast_computes(name: str, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the rounding of bfloat16, 2^-8. The weights are cast once, and not changed."""
    if not fast:
        monkeypatch.setattr("nanogpt_cli.engine.linear.has_fast_cpu_bfloat16", lambda: False)
    model = MODELS[name]()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    hardware = choose_inference_hardware("cpu", "bfloat16")
    decoder = build_decoder(model, hardware, 13)
    decoder.start(2, 12)
    idx = tokens(2, 12)
    steps = torch.stack([read(decoder, idx[:, t : t + 1]) for t in range(12)], dim=1)
    with torch.no_grad(), hardware.autocast():
        expected = model(idx, idx)[0].float()
    error = (steps - expected).abs().mean() / expected.abs().mean()
    assert error < 0.02
    assert not torch.allclose(steps, forward(model, idx), atol=1e-3), "it was float32"
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_the_model_as_it_is_reads_like_the_decoders() -> None:
    """What sharded weights are sampled with."""
    model = gpt2()
    decoder = ForwardDecoder(model, cpu_hardware(), 9)
    decoder.start(3, 12)
    idx = tokens(3, 8)
    expected = forward(model, idx)[..., :9]
    torch.testing.assert_close(decoder.read(idx[:, :4]), expected[:, 3])
    decoder.keep([0, 2])
    torch.testing.assert_close(decoder.read(idx[[0, 2], 4:]), expected[[0, 2], 7])
    assert decoder.length == 8
    decoder.forget()
    torch.testing.assert_close(decoder.read(idx[[0, 2], :4]), expected[[0, 2], 3])


def test_a_new_decoder_sees_new_weights() -> None:
    model = gpt2()
    idx = tokens(1, 4)
    before = read(decoder_of(model), idx)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    after = read(decoder_of(model), idx)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, forward(model, idx)[:, -1], atol=1e-5, rtol=1e-5)


def test_writing_leaves_a_model_in_training_as_it_was() -> None:
    """Dropout is for training: a decoder has none, and does not switch the model's off."""
    model = gpt2(dropout=0.9).train()
    idx = tokens(1, 6)
    assert torch.equal(read(decoder_of(model), idx), read(decoder_of(model), idx))
    assert model.training
    assert dataclasses.asdict(model.config)["dropout"] == 0.9

"""Sampling: greedy, top-k, seeds, the sliding context, and text as it streams."""

from typing import Any

import numpy as np
import pytest
import torch

from nanogpt_cli.data.tokenizers.base import ByteTokenizer, CharTokenizer
from nanogpt_cli.engine.generate import generate, sample_token, stream_text
from nanogpt_cli.engine.models.gpt2 import GPT2
from tests.engine.tiny import VOCAB_SIZE, cpu_hardware, shape_of, tiny_config

PROMPT = np.array([3, 1, 4], dtype=np.uint16)


@pytest.fixture
def model() -> GPT2:
    built = GPT2(shape_of(tiny_config()))
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, mean=0.05, std=0.3)
    return built.eval()


def sampled(model: GPT2, *, max_new_tokens: int = 20, **options: Any) -> list[int]:
    options = {"vocab_size": VOCAB_SIZE, **options}
    return list(generate(model, PROMPT, max_new_tokens=max_new_tokens, hardware=cpu_hardware(), **options))


def argmax_loop(model: GPT2, count: int) -> list[int]:
    """Greedy decoding without any of our sampling code: the last 8 tokens, the largest logit."""
    context = PROMPT.tolist()
    for _ in range(count):
        logits, _ = model(torch.tensor([context[-8:]]))
        context.append(int(logits[0, -1].argmax()))
    return context[len(PROMPT) :]


def test_temperature_0_is_the_argmax_loop_also_past_block_size(model: GPT2) -> None:
    """20 tokens after 3: the context of 8 slides from the sixth on."""
    expected = argmax_loop(model, 20)
    assert len(set(expected)) > 2, "a constant text would prove little"
    assert sampled(model, temperature=0) == expected


def test_top_k_1_is_greedy_at_any_temperature(model: GPT2) -> None:
    assert sampled(model, temperature=2.0, top_k=1) == argmax_loop(model, 20)


def test_a_prompt_longer_than_the_context_counts_by_its_end(model: GPT2) -> None:
    long = np.concatenate([np.zeros(50, dtype=np.uint16), np.arange(8, dtype=np.uint16)])
    texts = [
        list(
            generate(
                model,
                prompt,
                max_new_tokens=5,
                hardware=cpu_hardware(),
                vocab_size=VOCAB_SIZE,
                temperature=0,
            )
        )
        for prompt in (long, long[-8:])
    ]
    assert texts[0] == texts[1]


def test_the_seed_fixes_the_text_and_0_is_a_seed(model: GPT2) -> None:
    texts = {seed: sampled(model, temperature=1.0, seed=seed) for seed in (0, 1, 2)}
    for seed, text in texts.items():
        torch.manual_seed(99)  # the global generator plays no part
        assert sampled(model, temperature=1.0, seed=seed) == text
    assert texts[0] != texts[1] != texts[2] != texts[0]


def test_ids_that_only_pad_the_embedding_are_never_drawn(model: GPT2) -> None:
    """With the last three ids far the likeliest, and left out of the vocabulary."""
    with torch.no_grad():
        model.lm_head.weight.mul_(0.01)
        model.transformer.ln_f.weight.fill_(1.0)
    logits, _ = model(torch.from_numpy(PROMPT.astype(np.int64))[None])
    likeliest = int(logits[0, -1].argmax())
    for temperature in (0, 1.0, 50.0):
        drawn = sampled(model, temperature=temperature, vocab_size=likeliest or 1, max_new_tokens=200)
        assert max(drawn) < max(likeliest, 1)


def test_the_stop_token_ends_the_text_and_is_not_part_of_it(model: GPT2) -> None:
    greedy = argmax_loop(model, 20)
    stop = greedy[-1]
    assert sampled(model, temperature=0, stop_token=stop) == greedy[: greedy.index(stop)]


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (0.5, None), (2.0, 3), (1.0, 100)])
def test_frequencies_follow_the_softmax(temperature: float, top_k: int | None) -> None:
    """χ² over 20,000 draws with at most 5 degrees of freedom: beyond 40 by chance, under 1e-6."""
    logits = torch.tensor([0.5, -1.0, 2.0, 1.5, 0.0, 1.0])
    scaled = (logits / temperature).double()
    if top_k is not None:
        kept = scaled.sort(descending=True).values[: min(top_k, 6)].min()
        scaled = scaled.masked_fill(scaled < kept, -torch.inf)
    expected = 20_000 * torch.exp(scaled) / torch.exp(scaled).sum()
    generator = torch.Generator().manual_seed(7)
    draws = [int(sample_token(logits, temperature, top_k, generator)) for _ in range(20_000)]
    counts = torch.bincount(torch.tensor(draws), minlength=6).double()
    assert counts[expected == 0].sum() == 0
    likely = expected > 0
    chi_squared = ((counts - expected)[likely] ** 2 / expected[likely]).sum()
    assert chi_squared.item() < 40


# --- Streaming


@pytest.mark.parametrize("text", ["plain", "¿Qué? niño", "où ça, Noël", "中文 and 😀", ""])
def test_characters_of_several_bytes_stream_whole(text: str) -> None:
    """A byte vocabulary makes three tokens of 中: they appear together, and nothing is lost."""
    tokenizer = ByteTokenizer()
    pieces = list(stream_text(tokenizer.encode(text).tolist(), tokenizer))
    assert pieces == list(text)


def test_text_streams_as_it_is_made() -> None:
    """The first character is there before the second token has been asked for."""
    asked = []

    def tokens() -> Any:
        for token in (0, 1):
            asked.append(token)
            yield token

    stream = stream_text(tokens(), CharTokenizer("añ"))
    assert next(stream) == "a"
    assert asked == [0]
    assert next(stream) == "ñ"


def test_a_character_cut_off_at_the_end_shows_as_a_replacement() -> None:
    assert "".join(stream_text("中".encode()[:2], ByteTokenizer())) == "\ufffd"

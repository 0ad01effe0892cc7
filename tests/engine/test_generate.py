"""Generation: greedy, seeds, what the context holds past block_size, and several texts side by side."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nanogpt_cli.engine.decoders import build_decoder
from nanogpt_cli.engine.generate import Generation, generate, side_by_side
from nanogpt_cli.engine.models.gpt2 import GPT2, GPT2Config
from nanogpt_cli.engine.sampling import Sampling
from tests.engine.tiny import VOCAB_SIZE, cpu_hardware, shape_of, tiny_config

PROMPT = np.array([3, 1, 4], dtype=np.uint16)


def randomised() -> GPT2:
    torch.manual_seed(10)  # its greedy text is not monotonous
    built = GPT2(shape_of(tiny_config()))
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return built.eval()


@pytest.fixture
def model() -> GPT2:
    return randomised()


def sampled(model: GPT2, *, max_new_tokens: int = 20, **options: Any) -> list[int]:
    options = {"vocab_size": VOCAB_SIZE, **options}
    return list(generate(model, PROMPT, max_new_tokens=max_new_tokens, hardware=cpu_hardware(), **options))


def argmax_loop(model: GPT2, count: int, stride: int = 2) -> list[int]:
    """Greedy decoding without our code: the context, kept as generate.py says, and the largest logit."""
    context, text = PROMPT.tolist(), []
    for _ in range(count):
        if len(context) > 8:
            context = context[-(8 + 1 - stride) :]
        logits, _ = model(torch.tensor([context]))
        text.append(int(logits[0, -1].argmax()))
        context.append(text[-1])
    return text


@pytest.mark.parametrize("stride", [1, 2, 3, 8])
def test_temperature_0_is_the_argmax_loop_also_past_block_size(model: GPT2, stride: int) -> None:
    """30 tokens after 3: the context of 8 is full from the sixth on."""
    expected = argmax_loop(model, 30, stride)
    assert len(set(expected)) > 2, "a constant text would prove little"
    assert sampled(model, temperature=0, stride=stride, max_new_tokens=30) == expected


def test_a_stride_of_1_is_nanogpts_sliding_window(model: GPT2) -> None:
    context = PROMPT.tolist()
    for _ in range(20):
        logits, _ = model(torch.tensor([context[-8:]]))
        context.append(int(logits[0, -1].argmax()))
    assert sampled(model, temperature=0, stride=1) == context[3:]


def test_the_context_forgets_a_quarter_at_a_time(model: GPT2) -> None:
    assert sampled(model, temperature=0) == argmax_loop(model, 20, stride=2)


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


# --- Several texts side by side


def side(model: GPT2, seeds: list[int], count: int = 40, **options: Any) -> list[list[int]]:
    generation = Generation(
        build_decoder(model, cpu_hardware(), VOCAB_SIZE),
        PROMPT,
        seeds=seeds,
        device=torch.device("cpu"),
        sampling=Sampling(temperature=1.0),
        max_new_tokens=count,
        **options,
    )
    texts: list[list[int]] = [[] for _ in seeds]
    while drawn := generation.step():
        for number, token in drawn:
            texts[number].append(token)
    return texts


@given(seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5))
@settings(max_examples=15, deadline=None)
def test_a_text_is_the_same_alone_and_beside_others(seeds: list[int]) -> None:
    """In float32 on a CPU; logits agree to rounding, so a draw may differ about once in a million."""
    model = randomised()
    together = side(model, seeds)
    assert together == [side(model, [seed])[0] for seed in seeds]
    assert together[0] == sampled(model, temperature=1.0, seed=seeds[0], max_new_tokens=40)


def test_a_text_that_ends_leaves_the_others_as_they_are(model: GPT2) -> None:
    seeds = list(range(6))
    whole = side(model, seeds)
    stop = whole[0][5]
    ended = side(model, seeds, stop_token=stop)
    assert ended == [text[: text.index(stop)] if stop in text else text for text in whole]
    assert len({len(text) for text in ended}) > 1, "they end at different times"


def test_a_text_can_be_dropped_from_outside(model: GPT2) -> None:
    whole = side(model, [1, 2, 3], count=10)
    generation = Generation(
        build_decoder(model, cpu_hardware(), VOCAB_SIZE),
        PROMPT,
        seeds=[1, 2, 3],
        device=torch.device("cpu"),
        sampling=Sampling(temperature=1.0, repetition_penalty=1.0),
        max_new_tokens=10,
    )
    texts: list[list[int]] = [[], [], []]
    while drawn := generation.step():
        for number, token in drawn:
            texts[number].append(token)
        if len(texts[1]) == 4:
            generation.drop(1)
    assert texts == [whole[0], whole[1][:4], whole[2]]


@pytest.mark.parametrize("penalty", [1.5, 0.5])
def test_the_penalty_knows_the_prompt_and_the_whole_text(model: GPT2, penalty: float) -> None:
    """Also what the context has forgotten: no stride brings an id back."""
    text = PROMPT.tolist()
    for _ in range(20):
        logits = model(torch.tensor([text[-8:]]))[0][0, -1]
        for token in set(text):
            logits[token] *= penalty if logits[token] < 0 else 1 / penalty
        text.append(int(logits.argmax()))
    assert sampled(model, temperature=0, stride=1, repetition_penalty=penalty) == text[3:]
    assert text[3:] != argmax_loop(model, 20, stride=1)


def test_texts_side_by_side_stay_within_a_gigabyte() -> None:
    """GPT-2 124M: 2 · 12 layers · 768 · 1024 positions · 4 bytes = 75.5 MB for each."""
    gpt2 = GPT2Config(vocab_size=50257, block_size=1024, n_layer=12, n_head=12, n_embd=768)
    assert side_by_side(gpt2, cpu_hardware()) == 2**30 // (2 * 12 * 768 * 1024 * 4) == 14
    huge = GPT2Config(vocab_size=9, block_size=2**20, n_layer=48, n_head=1, n_embd=1600)
    assert side_by_side(huge, cpu_hardware()) == 1

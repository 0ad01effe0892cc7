"""The filters against transformers' own, and the draws against the probabilities they should follow."""

from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nanogpt_cli.engine.sampling import Sampling

WORDS = 11


def probabilities(sampling: Sampling, logits: Tensor, seen: Tensor | None = None) -> Tensor:
    """(B, V), summing to one."""
    weights, ids = sampling.candidates(logits, seen)
    if ids is None:
        ids = torch.arange(logits.shape[1]).expand_as(logits)
    spread = torch.zeros_like(logits).scatter(1, ids, weights)
    return spread / spread.sum(dim=1, keepdim=True)


def theirs(logits: Tensor, text: Tensor, **settings: Any) -> Tensor:
    """transformers' processors in the order in which its `generate` puts them."""
    chain = transformers.LogitsProcessorList()
    if settings["repetition_penalty"] != 1.0:
        chain.append(transformers.RepetitionPenaltyLogitsProcessor(settings["repetition_penalty"]))
    chain.append(transformers.TemperatureLogitsWarper(settings["temperature"]))
    if settings["top_k"]:
        chain.append(transformers.TopKLogitsWarper(settings["top_k"]))
    if settings["top_p"] < 1:
        chain.append(transformers.TopPLogitsWarper(settings["top_p"]))
    if settings["min_p"] > 0:
        chain.append(transformers.MinPLogitsWarper(settings["min_p"]))
    return chain(text, logits.clone()).softmax(dim=1)


@given(
    temperature=st.floats(0.1, 3.0),
    top_k=st.none() | st.integers(1, 2 * WORDS),
    top_p=st.just(1.0) | st.floats(0.01, 0.99),
    min_p=st.just(0.0) | st.floats(0.01, 1.0),
    repetition_penalty=st.just(1.0) | st.floats(0.5, 2.0),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=150, deadline=None)
def test_the_filters_are_those_of_transformers(seed: int, **chosen: Any) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(3, WORDS, generator=generator)
    text = torch.randint(WORDS, (3, 5), generator=generator)
    seen = torch.zeros(3, WORDS, dtype=torch.bool).scatter(1, text, True)
    expected = theirs(logits, text, **chosen)
    torch.testing.assert_close(
        probabilities(Sampling(**chosen), logits, seen), expected, atol=1e-5, rtol=1e-4
    )


def test_each_filter_by_hand() -> None:
    """Probabilities 0.5, 0.25, 0.15, 0.1."""
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()
    plain = {"temperature": 1.0, "top_k": None}

    def left(**chosen: Any) -> list[float]:
        return [round(p, 4) for p in probabilities(Sampling(**{**plain, **chosen}), logits)[0].tolist()]

    assert left() == [0.5, 0.25, 0.15, 0.1]
    assert left(top_k=2) == [0.6667, 0.3333, 0, 0]
    assert left(top_p=0.6) == [0.6667, 0.3333, 0, 0], "the fewest that reach 0.6"
    assert left(top_p=0.4) == [1, 0, 0, 0], "at least the likeliest"
    assert left(min_p=0.4) == [0.6667, 0.3333, 0, 0], "at least 0.4 · 0.5"
    assert left(min_p=1.0) == [1, 0, 0, 0]
    assert left(temperature=1e-30) == [1, 0, 0, 0], "no overflow"


def test_the_penalty_pushes_both_signs_down() -> None:
    logits = torch.tensor([[2.0, -2.0, 2.0]])
    seen = torch.tensor([[True, True, False]])
    weights, _ = Sampling(temperature=1.0, top_k=None, repetition_penalty=2.0).candidates(logits, seen)
    torch.testing.assert_close(weights, torch.tensor([[1.0, -4.0, 2.0]]).softmax(dim=1))


def test_temperature_0_takes_the_likeliest_of_what_the_penalty_leaves() -> None:
    logits, seen = torch.tensor([[3.0, 2.0]]), torch.tensor([[True, False]])
    generators = [torch.Generator()]
    assert Sampling(temperature=0).draw(logits, generators, seen).tolist() == [[0]]
    assert Sampling(temperature=0, repetition_penalty=2.0).draw(logits, generators, seen).tolist() == [[1]]


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (0.5, None), (2.0, 3), (1.0, 100)])
def test_frequencies_follow_the_softmax(temperature: float, top_k: int | None) -> None:
    """χ² over 20,000 draws with at most 5 degrees of freedom: beyond 40 by chance, under 1e-6."""
    logits = torch.tensor([[0.5, -1.0, 2.0, 1.5, 0.0, 1.0]])
    scaled = (logits[0] / temperature).double()
    if top_k is not None:
        kept = scaled.sort(descending=True).values[: min(top_k, 6)].min()
        scaled = scaled.masked_fill(scaled < kept, -torch.inf)
    expected = 20_000 * torch.exp(scaled) / torch.exp(scaled).sum()
    generators = [torch.Generator().manual_seed(7)]
    sampling = Sampling(temperature=temperature, top_k=top_k)
    draws = [int(sampling.draw(logits, generators)) for _ in range(20_000)]
    counts = torch.bincount(torch.tensor(draws), minlength=6).double()
    assert counts[expected == 0].sum() == 0
    likely = expected > 0
    chi_squared = ((counts - expected)[likely] ** 2 / expected[likely]).sum()
    assert chi_squared.item() < 40


def test_a_row_draws_as_it_would_alone() -> None:
    logits = torch.randn(4, WORDS, generator=torch.Generator().manual_seed(1))
    sampling = Sampling(temperature=1.0, top_k=5, top_p=0.9)
    together = sampling.draw(logits, [torch.Generator().manual_seed(seed) for seed in range(4)])
    alone = [sampling.draw(logits[i : i + 1], [torch.Generator().manual_seed(i)]) for i in range(4)]
    assert torch.equal(together, torch.cat(alone))

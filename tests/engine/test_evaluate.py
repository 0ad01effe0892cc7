"""Exact losses against a naive computation, and bits per byte by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from nanogpt_cli.data.batches import Batches
from nanogpt_cli.engine.distributed import Distributed
from nanogpt_cli.engine.evaluate import SplitLoss, estimate_loss, evaluate, windows_at_once
from nanogpt_cli.engine.models.gpt2 import GPT2
from tests.engine.tiny import cpu_hardware, shape_of, synthetic_tokens, tiny_config


def model(**changes: Any) -> GPT2:
    built = GPT2(shape_of(tiny_config(**changes)))
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, mean=0.05, std=0.3)
    return built


def naive_nats(built: GPT2, tokens: np.ndarray) -> list[float]:
    """Nats of each predicted token, one window and one token at a time."""
    built.eval()
    nats = []
    for start in range(0, len(tokens) - 1, 8):
        window = tokens[start : start + 9].astype(np.int64).tolist()
        for position in range(1, len(window)):
            logits, _ = built(torch.tensor([window[:position]]))
            nats.append(-logits[0, -1].log_softmax(dim=0)[window[position]].item())
    return nats


@pytest.mark.parametrize("n_tokens", [2, 8, 9, 10, 16, 17, 18, 75])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_every_token_but_the_first_counts_once(n_tokens: int, batch_size: int) -> None:
    """The ragged last window counts by its tokens, not as much as a whole one."""
    built, tokens = model(), synthetic_tokens(n_tokens)
    found = evaluate(built, tokens, hardware=cpu_hardware(), batch_size=batch_size)
    expected = naive_nats(built, tokens)
    assert found.tokens == len(expected) == n_tokens - 1
    assert found.loss == pytest.approx(sum(expected) / len(expected), abs=1e-5)
    assert found.bits_per_byte is None


def test_the_mean_of_window_means_would_differ() -> None:
    """The comparison above can tell token-weighting from its usual mistake."""
    built, tokens = model(), synthetic_tokens(10)
    nats = naive_nats(built, tokens)
    of_means = (sum(nats[:8]) / 8 + nats[8]) / 2
    assert abs(of_means - sum(nats) / 9) > 0.01


def test_dropout_is_off_and_the_model_is_left_as_it_was() -> None:
    built = model(dropout=0.5)
    built.train()
    first, second = (evaluate(built, synthetic_tokens(40), hardware=cpu_hardware()) for _ in range(2))
    assert first == second
    assert built.training


def test_bits_per_byte_by_hand() -> None:
    """Ids of 1, 2 and 3 bytes at ln 4 nats each: a, é, 中. The first token is not predicted.

    3 predictions · 2 bits / (2 + 3 + 1 bytes) = 1 bit per byte.
    """

    class Uniform(torch.nn.Module):
        config = shape_of(tiny_config(), vocab_size=4)

        def forward(self, idx: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.zeros(*idx.shape, 4), torch.tensor(math.log(4))

    found = evaluate(
        Uniform(),  # type: ignore[arg-type]
        np.array([2, 1, 2, 0], dtype=np.uint16),
        hardware=cpu_hardware(),
        token_bytes=np.array([1, 2, 3, 9]),
    )
    assert found.bits_per_byte == pytest.approx(1.0)
    assert found.loss == pytest.approx(math.log(4))
    assert found.ppl == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("vocab_size", "block_size", "on_cpu", "on_gpu"),
    [(65, 64, 64, 512), (65, 256, 16, 128), (50304, 1024, 1, 10), (65, 8192, 1, 4)],
)
def test_windows_at_once_fill_the_device_and_fit(
    vocab_size: int, block_size: int, on_cpu: int, on_gpu: int
) -> None:
    shape = shape_of(tiny_config(block_size=block_size), vocab_size=vocab_size)
    assert windows_at_once(shape, torch.device("cpu")) == on_cpu
    assert windows_at_once(shape, torch.device("cuda")) == on_gpu


def test_perplexity() -> None:
    assert SplitLoss(tokens=1, loss=math.log(65), bits_per_byte=None).ppl == pytest.approx(65)
    assert SplitLoss(tokens=1, loss=1e6, bits_per_byte=None).ppl == math.inf


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_estimate_is_shared_by_the_ranks_without_changing_it(
    world_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rank computes its batches; the sums of all, added up, are what one process gets."""
    built = model(dropout=0.5)
    batches = Batches(tokens=synthetic_tokens(200), block_size=8, seed=1)
    shares = []
    monkeypatch.setattr(Distributed, "sum", lambda _self, value: value)
    for rank in range(world_size):
        dist = Distributed(rank=rank, world_size=world_size)
        shares.append(
            estimate_loss(built, batches, batch_size=4, n_batches=5, hardware=cpu_hardware(), dist=dist)
        )
    assert None not in shares
    starts = [int((place + 0.5) / 20 * (200 - 8)) for place in range(20)]  # 4 · 5 windows over the split
    expected = [np.mean(naive_nats(built, batches.tokens[start : start + 9])) for start in starts]
    assert sum(share or 0.0 for share in shares) == pytest.approx(float(np.mean(expected)), abs=1e-5)

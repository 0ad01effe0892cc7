"""The head's loss without kept logits: equal to the plain one in value and gradients."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nanogpt_cli.engine.models import head_loss as module
from nanogpt_cli.engine.models.gpt2 import GPT2, GPT2Config
from nanogpt_cli.engine.models.head_loss import head_loss
from nanogpt_cli.engine.models.nanochat import NanoChat, NanoChatConfig

SHAPE: dict[str, Any] = {"vocab_size": 40, "block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 16}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vocabulary of 40 counts as large, ten rows are many, and three fill a chunk."""
    monkeypatch.setattr(module, "MANY_LOGITS", 10 * 40)
    monkeypatch.setattr(module, "LARGE_VOCABULARY", 40)
    monkeypatch.setattr(module, "_CPU_CHUNK_BYTES", 3 * 4 * 40)
    monkeypatch.setattr(module, "_LEAST_ROWS", 3)


def inputs(dtype: torch.dtype, n: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(n, 6, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(40, 6, generator=generator, dtype=dtype, requires_grad=True)
    targets = torch.randint(0, 40, (n,), generator=generator)
    targets[[0, 4]] = -1
    return x, weight, targets


def plain(x: Tensor, weight: Tensor, targets: Tensor, softcap: float | None) -> Tensor:
    logits = F.linear(x, weight).to(torch.promote_types(x.dtype, torch.float32))
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    return F.cross_entropy(logits, targets, ignore_index=-1)


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_gradients_by_differences(softcap: float | None) -> None:
    x, weight, targets = inputs(torch.float64)

    def thrice(x: Tensor, weight: Tensor) -> Tensor:  # a factor, as gradient accumulation has one
        loss = head_loss(x, weight, targets, softcap)
        assert loss is not None
        return 3 * loss

    assert torch.autograd.gradcheck(thrice, (x, weight))


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize(("dtype", "digits"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_it_is_the_plain_loss(dtype: torch.dtype, digits: float, softcap: float | None) -> None:
    x, weight, targets = inputs(dtype)
    ours, theirs = head_loss(x, weight, targets, softcap), plain(x, weight, targets, softcap)
    assert ours is not None
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=10 * digits)
    of_ours, of_theirs = (torch.autograd.grad(loss / 7, (x, weight)) for loss in (ours, theirs))
    for mine, expected in zip(of_ours, of_theirs, strict=True):
        torch.testing.assert_close(mine, expected, rtol=0, atol=digits)


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize(("dtype", "digits"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_without_gradients_it_is_the_plain_loss_too(
    dtype: torch.dtype, digits: float, softcap: float | None
) -> None:
    x, weight, targets = inputs(dtype)
    with torch.no_grad():
        ours, theirs = head_loss(x, weight, targets, softcap), plain(x, weight, targets, softcap)
    assert ours is not None
    assert not ours.requires_grad
    assert float(ours) == pytest.approx(float(theirs), rel=10 * digits)


@pytest.mark.parametrize("arch", ["gpt2", "nanochat"])
def test_an_evaluation_gives_the_loss_of_training(arch: str) -> None:
    torch.manual_seed(1)
    model = GPT2(GPT2Config(**SHAPE)) if arch == "gpt2" else NanoChat(NanoChatConfig(**SHAPE))
    idx = torch.randint(0, 40, (3, 8))
    _, trained = model(idx, idx)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        logits, loss = model.eval()(idx, idx)
    assert logits.numel() == 0
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(trained.detach()), rel=0.01)


def test_a_batch_without_targets_changes_nothing() -> None:
    x, weight, targets = inputs(torch.float32)
    loss = head_loss(x, weight, torch.full_like(targets, -1))
    assert loss is not None
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert not weight.grad.any()  # type: ignore[union-attr]


@pytest.mark.parametrize("arch", ["gpt2", "nanochat"])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_a_model_learns_the_same(
    arch: str, dtype: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32 to 1e-6; under autocast, whose gradients have 8 bits, to their rounding."""
    torch.manual_seed(0)
    model = GPT2(GPT2Config(**SHAPE)) if arch == "gpt2" else NanoChat(NanoChatConfig(**SHAPE))
    with torch.no_grad():
        model.lm_head.weight.normal_(std=0.3)  # nanochat's begins as zeros
    idx = torch.randint(0, 40, (3, 8))
    losses, gradients = [], []
    for large in (40, 41):
        monkeypatch.setattr(module, "LARGE_VOCABULARY", large)
        with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            logits, loss = model(idx, idx.roll(-1, dims=1))
        loss.backward()
        assert logits.numel() == (0 if large == 40 else 3 * 8 * 40)
        losses.append(float(loss.detach()))
        gradients.append({name: p.grad for name, p in model.named_parameters()})
        model.zero_grad(set_to_none=True)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for name, expected in gradients[1].items():
        tolerance = 1e-6 if dtype is None else 0.02 * float(expected.abs().max())
        torch.testing.assert_close(gradients[0][name], expected, rtol=0, atol=tolerance, msg=name)


def test_where_the_plain_way_is_taken() -> None:
    x, weight, targets = inputs(torch.float32)
    assert head_loss(x, weight[:39], targets.clamp(max=38)) is None
    assert head_loss(x[:9], weight, targets[:9]) is None
    with torch.autocast("cpu", dtype=torch.float16):
        assert head_loss(x, weight, targets) is None

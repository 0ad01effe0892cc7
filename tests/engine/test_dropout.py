"""Dropout on a CPU: the shares it drops, what it keeps, and that torch's seed decides."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from nanogpt_cli.engine.models.dropout import dropout
from nanogpt_cli.engine.models.gpt2 import causal_attention

N = 1 << 20


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.2, 0.5, 0.99])
def test_a_share_is_zero_and_the_rest_is_scaled(rate: float, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    found = dropout(torch.full((N,), 3.0, dtype=dtype), rate)
    assert found.dtype == dtype
    expected = torch.tensor(3.0, dtype=dtype) * torch.tensor(1 / (1 - rate), dtype=dtype)
    assert set(found.unique().tolist()) == ({0.0, expected.item()} if rate else {3.0})
    # Four standard deviations of a binomial.
    share = float((found == 0).double().mean())
    assert share == pytest.approx(rate, abs=4 * (rate * (1 - rate) / N) ** 0.5)


def test_elements_are_dropped_independently() -> None:
    """Neither neighbours nor the four numbers of one random word go together."""
    torch.manual_seed(2)
    zero = (dropout(torch.ones(N), 0.3) == 0).double()
    for away in (1, 2, 3, 4, 5, 1024):
        both = float((zero[:-away] * zero[away:]).mean())
        assert both == pytest.approx(0.09, abs=4 * (0.09 * 0.91 / N) ** 0.5)


@pytest.mark.parametrize("rate", [1e-9, 0.99])
def test_extreme_rates_drop_hardly_anything_or_nearly_all(rate: float) -> None:
    share = float((dropout(torch.ones(N), rate) == 0).double().mean())
    assert share == pytest.approx(rate, abs=1e-3)


@pytest.mark.parametrize("shape", [(1 << 14,), ((1 << 14) + 1,), (3, 5461), (7, 11, 13, 17), (2, 3)])
def test_any_shape_will_do(shape: tuple[int, ...]) -> None:
    assert dropout(torch.ones(shape), 0.5).shape == shape


def test_the_seed_decides_and_each_call_drops_others() -> None:
    def draw(seed: int) -> tuple[Tensor, Tensor]:
        torch.manual_seed(seed)
        x = torch.ones(N)
        return dropout(x, 0.5), dropout(x, 0.5)

    (first, second), again, other = draw(3), draw(3), draw(4)
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])
    assert not torch.equal(first, second)
    assert not torch.equal(first, other[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_is_dropped_where_the_value_is(dtype: torch.dtype) -> None:
    x = torch.ones(1 << 15, dtype=dtype, requires_grad=True)
    y = dropout(x, 0.25)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_estimates_without_memory_go_through_torch() -> None:
    with FakeTensorMode():
        assert dropout(torch.empty(N), 0.5).shape == (N,)


# --- In attention


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_drops_weights(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the definition, with the same ones dropped."""
    torch.manual_seed(5)
    q, k, v = torch.randn(3, 2, 4, 64, 16, dtype=dtype).unbind()
    masks: list[Tensor] = []

    def seen(x: Tensor, rate: float, inner: Callable[[Tensor, float], Tensor] = dropout) -> Tensor:
        masks.append(inner(torch.ones_like(x), rate))
        return x * masks[-1]

    monkeypatch.setattr("nanogpt_cli.engine.models.gpt2.dropout", seen)
    found = causal_attention(q, k, v, drop=0.3)
    (mask,) = masks
    scores = q.double() @ k.double().mT / 4 + torch.full((64, 64), -torch.inf, dtype=torch.double).triu(1)
    weights = F.softmax(scores, dim=-1) * mask.double().view(2, 4, 64, 64)
    within = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(found.double(), weights @ v.double(), rtol=within, atol=within)

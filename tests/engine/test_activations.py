"""RMSNorm and ReLU² equal torch's own, forward and backward."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nanogpt_cli.engine.models.activations import NORM_EPS, relu_squared, rms_norm


def torchs_norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), eps=NORM_EPS)


def torchs_relu_squared(x: Tensor) -> Tensor:
    return F.relu(x).square()


PAIRS = [(rms_norm, torchs_norm), (relu_squared, torchs_relu_squared)]


@pytest.mark.parametrize(("ours", "torchs"), PAIRS)
@pytest.mark.parametrize("size", [1e-4, 1.0, 30.0])  # where eps counts, and where it does not
def test_values_and_gradients_are_torchs(
    ours: Callable[[Tensor], Tensor], torchs: Callable[[Tensor], Tensor], size: float
) -> None:
    torch.manual_seed(0)
    x = (size * torch.randn(3, 5, 16)).requires_grad_()
    expected, found = torchs(x), ours(x)
    torch.testing.assert_close(found, expected)
    direction = torch.randn_like(x)
    [expected_gradient] = torch.autograd.grad(expected, x, direction)
    [gradient] = torch.autograd.grad(found, x, direction)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("ours", [rms_norm, relu_squared])
def test_a_zero_row_stays_zero(ours: Callable[[Tensor], Tensor]) -> None:
    x = torch.zeros(1, 4, requires_grad=True)
    y = ours(x)
    y.sum().backward()
    assert not y.any()
    assert x.grad is not None
    assert x.grad.isfinite().all()

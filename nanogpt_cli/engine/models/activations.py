"""RMSNorm and ReLU² with backward passes of their own: on a CPU torch takes each apart into small steps.

Measured on one core of a Zen 4, forward and backward of 8 x 256 tokens: RMSNorm 256 wide in float32 0.75 ms
against 4.5, ReLU² 1024 wide in bfloat16 1.9 ms against 3.9. A GPU has a kernel for the one, and torch.compile
makes one for the other.
"""

from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

NORM_EPS: Final = 1e-6  # transformers' default for NanoChat


def rms_norm(x: Tensor) -> Tensor:  # (..., C) → (..., C)
    """x / √(mean(x²) + eps) over the last dimension, in float32 whatever comes in (Zhang & Sennrich 2019)."""
    if _own_backward(x) and x.dtype == torch.float32:
        return _RMSNorm.apply(x)  # type: ignore[no-untyped-call]
    return F.rms_norm(x.float(), (x.shape[-1],), eps=NORM_EPS).type_as(x)


def relu_squared(x: Tensor) -> Tensor:  # any shape
    """max(x, 0)² (So et al. 2021, https://arxiv.org/abs/2109.08668)."""
    if _own_backward(x):
        return _ReLUSquared.apply(x)  # type: ignore[no-untyped-call]
    return F.relu(x).square()


def _own_backward(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.requires_grad and not torch.compiler.is_compiling()


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)  # (..., 1): one pass over x
        scale = (norm.square() / x.shape[-1] + NORM_EPS).rsqrt()
        y = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """scale · (g - y · mean(g · y)): the norm undoes any scaling of x, so that part of g does nothing."""
        y, scale = ctx.saved_tensors
        along = torch.linalg.vecdot(gradient, y).unsqueeze(-1) / y.shape[-1]
        return torch.addcmul(gradient, y, along, value=-1).mul_(scale)


class _ReLUSquared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = F.relu(x)
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """2 · max(x, 0) · g."""
        (positive,) = ctx.saved_tensors
        return (gradient * positive).mul_(2)

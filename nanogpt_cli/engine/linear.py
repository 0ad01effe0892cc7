"""Matrix products for a model that only writes: the weights made ready once, not once per token.

One token at a time is bound by reading the weights: what counts is their bytes, and a product that reads
them at the memory's speed. `F.linear` of one row does not on every CPU: for matrices larger than the caches
oneDNN's product takes 0.75 of its time in float32, and with bfloat16 laid out in blocks beforehand 0.6 of
its time in bfloat16, 0.45 in float32 (torch 2.13, one core of a Zen 5). Small ones stay with it: its call
costs 10 µs less.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from nanogpt_cli.engine.device import Hardware, has_fast_cpu_bfloat16

Linear = Callable[[Tensor], Tensor]  # (..., in) → (..., out)
MakeLinear = Callable[[Tensor, Tensor | None], Linear]  # of a weight (out, in) and a bias (out)

_LARGE = 1 << 20  # elements: 4 MB in float32, more than a core's own cache


def make_linear(hardware: Hardware) -> MakeLinear:
    """How products are made on this device in this format; their results are in `hardware.dtype`."""

    def made(weight: Tensor, bias: Tensor | None) -> Linear:
        weight, bias = weight.detach(), bias.detach() if bias is not None else None
        if hardware.device.type == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            if hardware.dtype == torch.bfloat16 and has_fast_cpu_bfloat16():
                return _blocked_bfloat16(weight, bias)
            if hardware.dtype == torch.float32 and weight.numel() >= _LARGE:
                return _onednn(weight.contiguous(), bias)
        return _plain(weight.to(hardware.dtype), bias.to(hardware.dtype) if bias is not None else None)

    return made


def _plain(weight: Tensor, bias: Tensor | None) -> Linear:
    dtype = weight.dtype
    if dtype == torch.float32:
        return partial(F.linear, weight=weight, bias=bias)
    return lambda x: F.linear(x.to(dtype), weight, bias)


def _onednn(weight: Tensor, bias: Tensor | None) -> Linear:
    """oneDNN's product, the one torch.compile puts in place of F.linear."""
    product = torch.ops.mkldnn._linear_pointwise
    dtype = weight.dtype
    return lambda x: product(x.to(dtype), weight, bias, "none", [], "")


def _blocked_bfloat16(weight: Tensor, bias: Tensor | None) -> Linear:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.to(torch.bfloat16).contiguous(), 1)
    return _onednn(packed, bias.to(torch.bfloat16) if bias is not None else None)

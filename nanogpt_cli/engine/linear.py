"""Matrix products for a model that only writes: the weights made ready once, not once per token.

One token at a time is bound by reading the weights: what counts is their bytes, and a product that reads
them at the memory's speed. `F.linear` of one row does not on every CPU: for matrices larger than the caches
oneDNN's product takes 0.75 of its time in float32, and with bfloat16 laid out in blocks beforehand 0.6 of
its time in bfloat16, 0.45 in float32 (torch 2.13, one core of a Zen 5). Small ones are read from the caches,
and the call counts: oneDNN's costs 10 µs more; `torch.mm` of a transposed copy takes 0.83 of F.linear's time.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from nanogpt_cli.engine.device import Hardware, has_fast_cpu_bfloat16

_LARGE = 1 << 20  # elements: 4 MB in float32, more than a core's own cache


class Linear(ABC):
    """x (N, in) → x·Wᵀ + b (N, out)."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """The product, in the format that products are made in."""

    def into(self, x: Tensor, out: Tensor) -> None:
        """The product, written to `out` (N, out), perhaps of another format."""
        out.copy_(self(x))

    def onto(self, x: Tensor, y: Tensor) -> None:
        """Add the product of `y` to `x` (N, out), in place."""
        x.add_(self(y))


def make_linear(hardware: Hardware, weight: Tensor, bias: Tensor | None) -> Linear:
    """The product with weight (out, in) and bias (out) as this device does it fastest in `hardware.dtype`."""
    weight, bias = weight.detach(), bias.detach() if bias is not None else None
    on_cpu = hardware.device.type == "cpu"
    if on_cpu and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        if hardware.dtype == torch.bfloat16 and has_fast_cpu_bfloat16():
            return OneDNN(weight, bias, torch.bfloat16, rows=1)
        if hardware.dtype == torch.float32 and weight.numel() >= _LARGE:
            return OneDNN(weight, bias, torch.float32, rows=1)
    if is_small(hardware, weight):
        return _Small(weight, bias)
    return _Plain(weight.to(hardware.dtype), bias.to(hardware.dtype) if bias is not None else None)


def is_small(hardware: Hardware, weight: Tensor) -> bool:
    """Whether a product reads its weights from a processor's caches, in float32; it has a copy of them."""
    on_cpu = hardware.device.type == "cpu"
    return on_cpu and hardware.dtype == torch.float32 and weight.numel() < _LARGE


class _Plain(Linear):
    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight, self._bias = weight, bias

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x.to(self._weight.dtype), self._weight, self._bias)


class OneDNN(Linear):
    """The product that torch.compile puts in place of F.linear, and a GELU in the same pass if one is named.

    What is not float32 is laid out in blocks for products of `rows` rows; other numbers work too.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, *, rows: int, gelu: str = ""
    ) -> None:
        weight = weight.detach().to(dtype).contiguous()
        if dtype != torch.float32:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
        self._weight, self._dtype = weight, dtype
        self._bias = bias.detach().to(dtype) if bias is not None else None
        # What follows, its numbers, and its variant: "none" is the exact GELU.
        self._then: tuple[str, list[float], str] = ("gelu", [], gelu) if gelu else ("none", [], "")
        self._product = torch.ops.mkldnn._linear_pointwise.default

    def __call__(self, x: Tensor) -> Tensor:
        found: Tensor = self._product(x.to(self._dtype), self._weight, self._bias, *self._then)
        return found


class _Small(Linear):
    """Float32 within the caches: one call each, the bias and what is added to going with it."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._transposed = weight.t().contiguous()  # (in, out)
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        if self._bias is None:
            return torch.mm(x, self._transposed)
        return torch.addmm(self._bias, x, self._transposed)

    def into(self, x: Tensor, out: Tensor) -> None:
        if self._bias is None:
            torch.mm(x, self._transposed, out=out)
        else:
            torch.addmm(self._bias, x, self._transposed, out=out)

    def onto(self, x: Tensor, y: Tensor) -> None:
        x.addmm_(y, self._transposed)
        if self._bias is not None:
            x.add_(self._bias)

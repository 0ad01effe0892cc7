"""The head's matrix product and the cross-entropy in one, with a sixth of the memory.

For GPT-2's vocabulary the logits are the largest tensors of a step by far: of 4 texts of 1,024 tokens 0.8 GB
in float32, and autograd keeps them beside their softmax and makes two gradients of their size, each also in
bfloat16. Here the loss replaces each logit by its gradient at once, in the type of the matrix products and a
few rows at a time, and the two products of the backward pass start from there. Nothing is computed twice.
Without gradients, in an evaluation, not even the logits are kept: each few rows go as they came.
Shapes: N tokens, C = n_embd, V words.
"""

from collections.abc import Iterator
from typing import Any, Final, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# Below so many words the logits are no larger than a block's own activations, and below so many logits (32 MB
# in float32) nothing is gained: all at once they take a few percent less time.
LARGE_VOCABULARY: Final = 1024
MANY_LOGITS: Final = 1 << 23
# Logits of one chunk in float32. On a CPU they should stay near the caches; a GPU wants few large kernels.
_CPU_CHUNK_BYTES: Final = 4 << 20
_GPU_CHUNK_BYTES: Final = 1 << 30
_LEAST_ROWS: Final = 512  # of a product of its own: with fewer, reading the weights takes as long as the rest


def head_loss(x: Tensor, weight: Tensor, targets: Tensor, softcap: float | None = None) -> Tensor | None:
    """Mean cross-entropy, in nats, of x (N, C) weight (V, C)ᵀ against targets (N,); -1 is not counted.

    With `softcap` the logits are softcap · tanh(logits / softcap). None where the plain way is the better
    one: few logits; float16, whose gradients need the loss to be scaled before; and under
    torch.compile, which fuses the same passes by itself.
    """
    few = weight.shape[0] < LARGE_VOCABULARY or x.shape[0] * weight.shape[0] < MANY_LOGITS
    if few or torch.compiler.is_compiling():
        return None
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    if dtype == torch.float16:
        return None
    if not torch.is_grad_enabled():
        with torch.autocast(kind, enabled=False):
            return _loss_alone(x.to(dtype), weight.to(dtype), targets, softcap)
    return cast("Tensor", _HeadLoss.apply(x, weight, targets, softcap, dtype))  # type: ignore[no-untyped-call]


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, targets: Tensor, softcap: float | None, dtype: torch.dtype
    ) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            inputs, head = x.to(dtype), weight.to(dtype)
            slope = F.linear(inputs, head)  # (N, V): the logits, soon their gradient
            loss = _replace_by_gradient(slope, targets, softcap)
        ctx.save_for_backward(slope, inputs, head)
        ctx.types = x.dtype, weight.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        slope, inputs, head = ctx.saved_tensors
        of_x, of_weight = ctx.types
        with torch.autocast(slope.device.type, enabled=False):
            # The factor meets the small matrices, and before they are rounded.
            scaled = (inputs.to(gradient.dtype) * gradient).to(inputs.dtype)
            into_x = ((slope @ head).to(gradient.dtype) * gradient).to(of_x)
            into_weight = (slope.mT @ scaled).to(of_weight)
        return into_x, into_weight, None, None, None


def _loss_alone(x: Tensor, weight: Tensor, targets: Tensor, softcap: float | None) -> Tensor:
    """The mean loss, from the logits of a few rows at a time."""
    exact = torch.promote_types(x.dtype, torch.float32)
    total = torch.zeros((), dtype=exact, device=x.device)
    for part in _parts(len(x), weight.shape[0], x.device, least=_LEAST_ROWS):
        values = F.linear(x[part], weight).to(exact)
        if softcap is not None:
            values = values.div_(softcap).tanh_().mul_(softcap)
        total += F.cross_entropy(values, targets[part], ignore_index=-1, reduction="sum")
    return total / (targets != -1).sum().clamp(min=1)


def _parts(n_rows: int, n_words: int, device: torch.device, least: int = 1) -> Iterator[slice]:
    """Slices of so many rows that their logits in float32 fit into a chunk, or of `least`."""
    room = _CPU_CHUNK_BYTES if device.type == "cpu" else _GPU_CHUNK_BYTES
    rows = max(least, room // (4 * n_words))
    for first in range(0, n_rows, rows):
        yield slice(first, first + rows)


def _replace_by_gradient(logits: Tensor, targets: Tensor, softcap: float | None) -> Tensor:
    """The mean loss of `logits` (N, V), which become its gradient: softmax - one-hot, over the count."""
    exact = torch.promote_types(logits.dtype, torch.float32)
    counted = (targets != -1).sum().clamp(min=1)
    total = torch.zeros((), dtype=exact, device=logits.device)
    for part in _parts(len(logits), logits.shape[1], logits.device):
        wanted = targets[part].unsqueeze(1)  # (rows, 1)
        counts = (wanted != -1).to(exact)
        wanted = wanted.clamp(min=0)
        values = logits[part]
        if softcap is not None:
            bent = torch.tanh(values.to(exact) / softcap)
            values = softcap * bent
        log_p = values.log_softmax(dim=1, dtype=exact)
        total -= (log_p.gather(1, wanted) * counts).sum()
        slope = log_p.exp_()
        slope.scatter_add_(1, wanted, -torch.ones_like(counts))
        if softcap is not None:
            slope *= 1 - bent.square()
        torch.mul(slope, counts / counted, out=logits[part])
    return total / counted

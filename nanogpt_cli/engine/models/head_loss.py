"""The head's matrix product and the cross-entropy in one, with a sixth of the memory.

For GPT-2's vocabulary the logits are the largest tensors of a step by far: of 4 texts of 1,024 tokens 0.8 GB
in float32, and autograd keeps them beside their softmax and makes two gradients of their size, each also in
bfloat16. Here the loss replaces each logit by its gradient at once, in the type of the matrix products and a
few rows at a time, and the two products of the backward pass start from there. Nothing is computed twice.
Shapes: N tokens, C = n_embd, V words.
"""

from typing import Any, Final, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# Below so many words the logits are no larger than a block's own activations.
LARGE_VOCABULARY: Final = 8192
# Logits of one chunk in float32. On a CPU they should stay near the caches; a GPU wants few large kernels.
_CPU_CHUNK_BYTES: Final = 16 << 20
_GPU_CHUNK_BYTES: Final = 1 << 30


def head_loss(x: Tensor, weight: Tensor, targets: Tensor, softcap: float | None = None) -> Tensor | None:
    """Mean cross-entropy, in nats, of x (N, C) weight (V, C)ᵀ against targets (N,); -1 is not counted.

    With `softcap` the logits are softcap · tanh(logits / softcap). None where the plain way is the better
    one: small vocabularies; no gradient to be made; float16, whose gradients need the loss to be scaled
    before; and under torch.compile, which fuses the same passes by itself.
    """
    if weight.shape[0] < LARGE_VOCABULARY or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return None
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    if dtype == torch.float16:
        return None
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


def _replace_by_gradient(logits: Tensor, targets: Tensor, softcap: float | None) -> Tensor:
    """The mean loss of `logits` (N, V), which become its gradient: softmax - one-hot, over the count."""
    exact = torch.promote_types(logits.dtype, torch.float32)
    counted = (targets != -1).sum().clamp(min=1)
    total = torch.zeros((), dtype=exact, device=logits.device)
    room = _CPU_CHUNK_BYTES if logits.device.type == "cpu" else _GPU_CHUNK_BYTES
    rows = max(1, room // (4 * logits.shape[1]))
    for first in range(0, len(logits), rows):
        part = slice(first, first + rows)
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

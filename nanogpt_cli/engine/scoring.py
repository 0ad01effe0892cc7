"""The loss of a batch without anything that training needs: for whole splits on a processor.

Torch's float32 products go to MKL, which does not know every processor; oneDNN's are 1.1 to 1.2 times as fast
on a Zen 4, twice on a Zen 5, and take the GELU along. In bfloat16 the weights are cast and laid out in blocks
once, not once per batch. All of an evaluation: 1.1 to 1.2 times as fast in float32, 1.07 in bfloat16
(torch 2.13). Tests hold it to the models' own `forward`.
"""

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from nanogpt_cli.engine.device import Hardware, has_fast_cpu_bfloat16
from nanogpt_cli.engine.linear import OneDNN
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.models.gpt2 import GPT2, LAYER_NORM_EPS, Block, LayerNorm, causal_attention
from nanogpt_cli.engine.sharded import is_sharded

Score = Callable[[Tensor, Tensor], Tensor]  # inputs and targets (B, T) int64 → the mean loss, in nats
_ROWS = 1 << 12  # what weights are laid out for


def build_score(model: LanguageModel, hardware: Hardware) -> Score:
    """How the loss of a batch is computed fastest; weights that change afterwards need a new one."""
    on_cpu = hardware.device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    pays = hardware.dtype == torch.float32 or (hardware.dtype == torch.bfloat16 and has_fast_cpu_bfloat16())
    if on_cpu and pays and isinstance(model, GPT2) and not is_sharded(model):
        return _GPT2Score(model, hardware.dtype)
    return partial(_forward, model, hardware)


def _forward(model: LanguageModel, hardware: Hardware, inputs: Tensor, targets: Tensor) -> Tensor:
    with hardware.autocast():
        _, loss = model(inputs, targets)
    return cast(Tensor, loss)


def _norm(norm: LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, LAYER_NORM_EPS)


class _GPT2Score:
    """Shapes: B sequences, T tokens, N = B·T, C = n_embd, H heads, V words."""

    def __init__(self, model: GPT2, dtype: torch.dtype) -> None:
        self._body, self._heads = model.transformer, model.config.n_head
        self._blocks = [cast(Block, block) for block in self._body.h]
        product = partial(OneDNN, dtype=dtype, rows=_ROWS)
        gelu = "tanh" if model.config.activation == "gelu_new" else "none"
        self._products = [
            (
                product(block.attn.c_attn.weight, block.attn.c_attn.bias),
                product(block.attn.c_proj.weight, block.attn.c_proj.bias),
                product(block.mlp.c_fc.weight, block.mlp.c_fc.bias, gelu=gelu),
                product(block.mlp.c_proj.weight, block.mlp.c_proj.bias),
            )
            for block in self._blocks
        ]
        self._head = product(model.lm_head.weight, None)

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        B, T = inputs.shape
        x = F.embedding(inputs, self._body.wte.weight) + self._body.wpe.weight[:T]  # (B, T, C)
        x = x.view(B * T, -1)
        for block, (qkv, out, up, down) in zip(self._blocks, self._products, strict=True):
            heads = qkv(_norm(block.ln_1, x)).view(B, T, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            y = causal_attention(*heads.unbind(), drop=0.0)  # (B, H, T, C / H)
            x.add_(out(y.transpose(1, 2).reshape(B * T, -1)))
            x.add_(down(up(_norm(block.ln_2, x))))
        logits = self._head(_norm(self._body.ln_f, x))  # (N, V)
        return F.cross_entropy(logits.float(), targets.reshape(-1))

"""GPT-2 ready to write; see gpt2.py for the model. Shapes: B texts, T tokens, N = B·T, C = n_embd, V words.

Everything between the attentions is a matrix of N rows, and what a step of one token needs is allocated
once: a small model spends its time between the products, in the calls.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.linear import is_small, make_linear
from nanogpt_cli.engine.models.decoder import CachedDecoder
from nanogpt_cli.engine.models.gpt2 import GPT2, LAYER_NORM_EPS, Block, LayerNorm

_ROOT = math.sqrt(2)
# Up to so many numbers erf is faster than torch's GELU, whose call goes to oneDNN: 3 µs against 6 for 512.
_FEW = 1 << 13

Function = Callable[[Tensor], Tensor]


def _norm(norm: LayerNorm) -> Function:
    weight, bias = norm.weight.detach(), norm.bias.detach() if norm.bias is not None else None
    return partial(
        torch.layer_norm, normalized_shape=weight.shape, weight=weight, bias=bias, eps=LAYER_NORM_EPS
    )


def _gelu_between_scaled(x: Tensor) -> Tensor:
    """√2·GELU(√2·x) = x·(1 + erf(x)): the exact GELU where the weights on both sides carry a factor of √½."""
    if x.numel() <= _FEW:
        return torch.addcmul(x, x, torch.erf(x))
    return F.gelu(x.mul_(_ROOT)).mul_(_ROOT)


class _Layer:
    def __init__(self, block: Block, hardware: Hardware, *, tanh: bool) -> None:
        attn, mlp, make = block.attn, block.mlp, partial(make_linear, hardware)
        self.norm_1, self.norm_2 = _norm(block.ln_1), _norm(block.ln_2)
        self.qkv = make(attn.c_attn.weight, attn.c_attn.bias)
        self.out = make(attn.c_proj.weight, attn.c_proj.bias)
        up, up_bias, down = (
            mlp.c_fc.weight.detach(),
            cast("Tensor | None", mlp.c_fc.bias),
            mlp.c_proj.weight.detach(),
        )
        self.gelu: Function = partial(F.gelu, approximate="tanh") if tanh else F.gelu
        if not tanh and is_small(hardware, up):
            self.gelu = _gelu_between_scaled
            up, down = up / _ROOT, down / _ROOT
            up_bias = up_bias / _ROOT if up_bias is not None else None
        self.up, self.down = make(up, up_bias), make(down, mlp.c_proj.bias)


class GPT2Decoder(CachedDecoder):
    """See `Decoder`."""

    def __init__(self, model: GPT2, hardware: Hardware, vocab_size: int) -> None:
        super().__init__(model.config, hardware)
        body, tanh = model.transformer, model.config.activation == "gelu_new"
        self.words, self.positions = body.wte.weight.detach(), body.wpe.weight.detach()
        self.layers = [_Layer(cast(Block, block), hardware, tanh=tanh) for block in body.h]
        self.norm = _norm(body.ln_f)
        self.head = make_linear(hardware, model.lm_head.weight[:vocab_size], None)

    def read(self, idx: Tensor) -> Tensor:
        (B, T), start, cache = idx.shape, self.length, self.cache
        x = torch.embedding(self.words, idx).add_(self.positions[start : start + T])  # (B, T, C)
        x = x.view(B * T, -1)
        cache.begin(T)
        last = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            if T == 1:
                layer.qkv.into(layer.norm_1(x), self.column.qkv)
                y = cache.attend(number, self.column.q, self.column.kv)
            else:
                q, kv = self.split(layer.qkv(layer.norm_1(x)), T)
                if number == last:  # of which the last token alone is asked for
                    q, x = q[:, :, -1:], x.view(B, T, -1)[:, -1]
                y = cache.attend(number, q, kv)
            layer.out.onto(x, y)
            layer.down.onto(x, layer.gelu(layer.up(layer.norm_2(x))))
        return self.head(self.norm(x)).float()

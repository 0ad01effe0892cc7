"""GPT-2 ready to write; see gpt2.py for the model. Shapes: B texts, T tokens, C = n_embd, V words."""

from functools import partial
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.linear import Linear, make_linear
from nanogpt_cli.engine.models.decoder import CachedDecoder
from nanogpt_cli.engine.models.gpt2 import GPT2, LAYER_NORM_EPS, Block, LayerNorm


def _norm(norm: LayerNorm) -> Linear:
    weight, bias = norm.weight.detach(), norm.bias.detach() if norm.bias is not None else None
    return partial(
        torch.layer_norm, normalized_shape=weight.shape, weight=weight, bias=bias, eps=LAYER_NORM_EPS
    )


class _Layer:
    def __init__(self, block: Block, hardware: Hardware) -> None:
        make = make_linear(hardware)
        self.norm_1, self.norm_2 = _norm(block.ln_1), _norm(block.ln_2)
        self.qkv = make(block.attn.c_attn.weight, block.attn.c_attn.bias)
        self.out = make(block.attn.c_proj.weight, block.attn.c_proj.bias)
        self.up = make(block.mlp.c_fc.weight, block.mlp.c_fc.bias)
        self.down = make(block.mlp.c_proj.weight, block.mlp.c_proj.bias)


class GPT2Decoder(CachedDecoder):
    """See `Decoder`."""

    def __init__(self, model: GPT2, hardware: Hardware, vocab_size: int) -> None:
        super().__init__(model.config, hardware)
        body = model.transformer
        self.words, self.positions = body.wte.weight.detach(), body.wpe.weight.detach()
        self.layers = [_Layer(cast(Block, block), hardware) for block in body.h]
        self.norm = _norm(body.ln_f)
        self.head: Linear = make_linear(hardware)(model.lm_head.weight[:vocab_size], None)
        self.approximate = "tanh" if model.config.activation == "gelu_new" else "none"

    def read(self, idx: Tensor) -> Tensor:
        B, T = idx.shape
        C, H, start, cache = self.config.n_embd, self.config.n_head, self.length, self.cache
        x = F.embedding(idx, self.words) + self.positions[start : start + T]
        cache.begin(T)
        for number, layer in enumerate(self.layers):
            qkv = layer.qkv(layer.norm_1(x)).view(B, T, 3, H, -1).permute(2, 0, 3, 1, 4)  # (3, B, H, T, C/H)
            y = cache.attend(number, qkv[0], qkv[1:])
            x = x + layer.out(y.transpose(1, 2).reshape(B, T, C))
            x = x + layer.down(F.gelu(layer.up(layer.norm_2(x)), approximate=self.approximate))
        return self.head(self.norm(x[:, -1])).float()

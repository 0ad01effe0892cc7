"""GPT-2 as nanoGPT builds it: the same parameter names, initialisation and weight tying.

Pre-norm transformer with learned positions (Radford et al. 2019, "Language Models are Unsupervised Multitask
Learners"); names are OpenAI's (wte wpe h.N.ln_1 attn.c_attn …), so weights move to and from Hugging Face's
`GPT2LMHeadModel` by transposing four matrices per block. Shapes: B sequences, T tokens, C = n_embd, V words.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nanogpt_cli.engine.models.base import LanguageModel, ModelConfig
from nanogpt_cli.engine.models.dropout import dropout
from nanogpt_cli.engine.models.head_loss import head_loss

# Up to so many tokens a CPU keeps all scores in memory. Forward and backward of 8 texts of 256 tokens with 4
# heads of 64, bfloat16, one core of a Zen 4: 12 ms against 27 in float32 through torch's flash kernel.
_SHORT = 512

INIT_STD = 0.02  # GPT-2 paper, section 2.3
LAYER_NORM_EPS = 1e-5  # torch's and OpenAI's


@dataclass(frozen=True, kw_only=True)
class GPT2Config(ModelConfig):
    """The shape of a GPT-2."""

    arch: ClassVar[str] = "gpt2"

    bias: bool = False
    # nanoGPT trains with the exact GELU; OpenAI's released weights were made with its tanh form ("gelu_new").
    activation: Literal["gelu", "gelu_new"] = "gelu"


class LayerNorm(nn.Module):
    """Layer normalisation with an optional bias (Ba et al. 2016, https://arxiv.org/abs/1607.06450)."""

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x: Tensor) -> Tensor:  # (..., C) → (..., C)
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, LAYER_NORM_EPS)


class CausalSelfAttention(nn.Module):
    """Multi-head attention in which a token sees itself and what came before."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)  # query, key, value
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.n_head = config.n_head
        self.dropout = config.dropout

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) → (B, T, C)
        B, T, C = x.shape
        q, k, v = self.c_attn(x).split(C, dim=2)
        q, k, v = (part.view(B, T, self.n_head, -1).transpose(1, 2) for part in (q, k, v))  # (B, H, T, C/H)
        y = causal_attention(q, k, v, drop=self.dropout if self.training else 0.0)
        y = y.transpose(1, 2).reshape(B, T, C)
        return dropout(self.c_proj(y), self.dropout, self.training)


def causal_attention(q: Tensor, k: Tensor, v: Tensor, *, drop: float) -> Tensor:
    """softmax(q kᵀ / √head_size) v, causal, with dropout at the rate `drop`; each (B, H, T, head_size)."""
    if q.device.type == "cpu" and (q.dtype != torch.float32 or drop):
        with torch.autocast("cpu", enabled=False):
            if q.shape[2] <= _SHORT:
                return _short_attention(q, k, v, drop)
            # On a CPU its backward is several times slower in bfloat16 than in float32 (torch 2.13).
            full = (q.float(), k.float(), v.float())
            return F.scaled_dot_product_attention(*full, dropout_p=drop, is_causal=True).to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, dropout_p=drop, is_causal=True)


def _short_attention(q: Tensor, k: Tensor, v: Tensor, drop: float) -> Tensor:
    """The same, one product after the other: twice as fast on a CPU, at the price of (B, H, T, T) scores."""
    length, scale = q.shape[2], q.shape[3] ** -0.5
    future = torch.full((length, length), -math.inf, dtype=q.dtype, device=q.device).triu(1)
    scores = torch.baddbmm(future, q.flatten(0, 1), k.flatten(0, 1).mT, alpha=scale)  # (B·H, T, T)
    weights = dropout(scores.softmax(dim=2), drop)
    return torch.bmm(weights, v.flatten(0, 1)).view(q.shape)


class MLP(nn.Module):
    """Two linear layers, four times as wide between them."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.gelu = nn.GELU(approximate="tanh" if config.activation == "gelu_new" else "none")
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = config.dropout

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) → (B, T, C)
        return dropout(self.c_proj(self.gelu(self.c_fc(x))), self.dropout, self.training)


class Block(nn.Module):
    """One transformer layer: attention and MLP, each added to the residual stream."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(config.n_embd, config.bias)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = LayerNorm(config.n_embd, config.bias)
        self.mlp = MLP(config)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) → (B, T, C)
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """Embeddings, blocks and the final norm; a module of its own for the sake of the parameter names."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.dropout = config.dropout
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = LayerNorm(config.n_embd, config.bias)

    def forward(self, idx: Tensor) -> Tensor:  # (B, T) int64 → (B, T, C)
        positions = torch.arange(idx.shape[1], device=idx.device)
        x = dropout(self.wte(idx) + self.wpe(positions), self.dropout, self.training)
        for block in self.h:
            x = block(x)
        return self.ln_f(x)


class GPT2(LanguageModel):
    """The language model; see `LanguageModel.forward`."""

    config: GPT2Config
    blocks = "transformer.h"
    tied = frozenset({"lm_head.weight"})
    positions = "transformer.wpe.weight"

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.lm_head.weight = self.transformer.wte.weight  # tied: https://arxiv.org/abs/1608.05859
        self.apply(_init_weights)
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                # 2 * n_layer projections add to the residual stream: keep its variance at one (GPT-2, 2.3).
                nn.init.normal_(parameter, std=INIT_STD / math.sqrt(2 * config.n_layer))

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        assert idx.shape[1] <= self.config.block_size, "the caller crops sequences to block_size"
        x = self.transformer(idx)
        if targets is None:
            return self.lm_head(x[:, -1:, :]), None
        loss = head_loss(x.flatten(0, 1), self.lm_head.weight, targets.flatten())
        if loss is not None:
            return x.new_empty(0), loss
        logits = self.lm_head(x)  # (B, T, V), the largest tensor of the step
        loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=-1)
        return logits, loss


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INIT_STD)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)

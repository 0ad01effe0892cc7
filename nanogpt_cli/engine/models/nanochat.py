"""nanochat's transformer, numerically `NanoChatForCausalLM` of transformers, whose parameter names it bears.

The modern recipe: rotary positions (Su et al. 2021, https://arxiv.org/abs/2104.09864), queries and keys
normed after the rotation (Henry et al. 2020, https://arxiv.org/abs/2010.04245), RMSNorm without weights
(Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467), ReLU² (So et al. 2021,
https://arxiv.org/abs/2109.08668), an untied head, and logits capped by 15·tanh(x / 15) (Gemma 2,
https://arxiv.org/abs/2408.00118). Shapes: B sequences, T tokens, C = n_embd, D = head_size, V words.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nanogpt_cli.engine.models.activations import relu_squared, rms_norm
from nanogpt_cli.engine.models.base import LanguageModel, ModelConfig
from nanogpt_cli.engine.models.gpt2 import causal_attention
from nanogpt_cli.engine.models.head_loss import head_loss
from nanogpt_cli.engine.models.ngrams import NGramEmbedding

ROPE_BASE = 10_000.0
SOFTCAP = 15.0


@dataclass(frozen=True, kw_only=True)
class NanoChatConfig(ModelConfig):
    """The shape of a model. Every head has keys and values of its own; dropout is attention's alone."""

    arch: ClassVar[str] = "nanochat"

    softcap: float = SOFTCAP
    ngram_order: int = 0  # the longest n-gram with an embedding; below 2 it is transformers' model exactly
    ngram_rows: int = 131072  # of the table that all n-grams share
    ngram_dropout: float = 0.0


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs of x (..., T, D) by angles of which cos and sin (T, D / 2) are given."""
    first, second = x.chunk(2, dim=-1)
    # nanochat turns the other way round than most: the second half enters with a plus sign.
    return torch.cat((first * cos + second * sin, second * cos - first * sin), dim=-1)


class Rotary(nn.Module):
    """Cosines and sines of every position's angles, (block_size, D / 2); computed, never saved."""

    def __init__(self, head_size: int, block_size: int) -> None:
        super().__init__()
        frequencies = ROPE_BASE ** -(torch.arange(0, head_size, 2, dtype=torch.float32) / head_size)
        angles = torch.outer(torch.arange(block_size, dtype=torch.float32), frequencies)
        self.cos: Tensor
        self.sin: Tensor
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, H, T, D) → (B, H, T, D)
        cos, sin = (table[: x.shape[2]].to(x.dtype) for table in (self.cos, self.sin))
        return rotate(x, cos, sin)


class Attention(nn.Module):
    """Causal attention over rotated and normed queries and keys."""

    def __init__(self, config: NanoChatConfig) -> None:
        super().__init__()
        self.q_proj = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.k_proj = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.v_proj = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.o_proj = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.n_head = config.n_head
        self.dropout = config.dropout

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:  # (B, T, C) → (B, T, C)
        B, T, C = x.shape
        q, k, v = (
            project(x).view(B, T, self.n_head, -1).transpose(1, 2)  # (B, H, T, D)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rms_norm(rotary(q)), rms_norm(rotary(k))
        y = causal_attention(q, k, v, drop=self.dropout if self.training else 0.0)
        y = y.transpose(1, 2).reshape(B, T, C)
        return self.o_proj(y)


class MLP(nn.Module):
    """Two linear layers with ReLU² between them, four times as wide."""

    def __init__(self, config: NanoChatConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.n_embd, 4 * config.n_embd, bias=False)
        self.fc2 = nn.Linear(4 * config.n_embd, config.n_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) → (B, T, C)
        return self.fc2(relu_squared(self.fc1(x)))


class Layer(nn.Module):
    """Attention and MLP, each added to the residual stream."""

    def __init__(self, config: NanoChatConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:  # (B, T, C) → (B, T, C)
        x = x + self.self_attn(rms_norm(x), rotary)
        return x + self.mlp(rms_norm(x))


class Decoder(nn.Module):
    """Embedding, layers and the norms around them; a module of its own for the parameter names."""

    def __init__(self, config: NanoChatConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.n_embd)
        self.ngrams = (
            NGramEmbedding(config.ngram_order, config.ngram_rows, config.n_embd, config.ngram_dropout)
            if config.ngram_order >= 2
            else None
        )
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layer))
        self.rotary = Rotary(config.head_size, config.block_size)

    def forward(self, idx: Tensor) -> Tensor:  # (B, T) int64 → (B, T, C)
        x = self.embed_tokens(idx)
        if self.ngrams is not None:
            x = x + self.ngrams(idx)
        x = rms_norm(x)
        for layer in self.layers:
            x = layer(x, self.rotary)
        return rms_norm(x)


class NanoChat(LanguageModel):
    """The language model; see `LanguageModel.forward`."""

    config: NanoChatConfig
    blocks = "model.layers"

    def __init__(self, config: NanoChatConfig) -> None:
        super().__init__()
        assert config.head_size % 2 == 0, "rotary positions turn pairs: a head's width must be even"
        self.config = config
        self.model = Decoder(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self._init_weights()

    def _init_weights(self) -> None:
        """nanochat's: every projection into the residual stream, and the head, begin as zeros.

        The others are uniform with the standard deviation 1/√C, so that a normed input keeps its scale.
        Source: karpathy/nanochat, nanochat/gpt.py, init_weights.
        """
        bound = math.sqrt(3 / self.config.n_embd)  # a uniform distribution in ±√3·σ has the deviation σ
        for name, parameter in self.named_parameters():
            if name == "model.embed_tokens.weight":
                nn.init.normal_(parameter, std=1.0)
            elif name == "lm_head.weight" or name.endswith(("o_proj.weight", "fc2.weight")):
                nn.init.zeros_(parameter)
            elif name.startswith("model.ngrams."):
                continue  # zeros already: nothing is known of a string before it was seen
            else:
                nn.init.uniform_(parameter, -bound, bound)

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        assert idx.shape[1] <= self.config.block_size, "the caller crops sequences to block_size"
        x = self.model(idx)
        if targets is None:
            return self._capped(self.lm_head(x[:, -1:, :])), None
        loss = head_loss(x.flatten(0, 1), self.lm_head.weight, targets.flatten(), self.config.softcap)
        if loss is not None:
            return x.new_empty(0), loss
        logits = self._capped(self.lm_head(x))  # (B, T, V), the largest tensor of the step
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)
        return logits, loss

    def _capped(self, logits: Tensor) -> Tensor:  # (B, T, V) → (B, T, V) float32
        cap = self.config.softcap
        return cap * torch.tanh(logits.float() / cap)

    def num_matmul_params(self) -> int:
        """Without the embeddings, which are looked up and not multiplied with: the head is another matrix."""
        tables = [self.model.embed_tokens.weight, *(tables.weight for tables in self.lookup_tables())]
        return self.num_params() - sum(table.numel() for table in tables)

    def lookup_tables(self) -> list[NGramEmbedding]:
        return [self.model.ngrams] if self.model.ngrams is not None else []

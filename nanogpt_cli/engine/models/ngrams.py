"""Hashed n-gram embeddings: what the last few tokens were, looked up instead of computed.

A transformer spends its first thousand iterations learning which short strings occur. Here the last 2, 3,
…, `order` tokens are each hashed to a row of one table, and the rows are added to the token's own embedding:
the blocks begin with that knowledge. Hashed n-grams: Bojanowski et al. 2017
(https://arxiv.org/abs/1607.04606); in front of a transformer: Pagnoni et al. 2024, the Byte Latent
Transformer (https://arxiv.org/abs/2412.09871).
They cost a lookup and no matrix product. Shapes: B sequences, T tokens, C = n_embd, K = order - 1
n-grams of a token.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Knuth's multiplicative hashing (The Art of Computer Programming 3, 6.4): odd numbers near 2⁶⁴/φ and 2³²/φ.
# Products wrap around at 64 bits, on every device alike.
_STEP: Final = 2_654_435_761
_SPREAD: Final = -7_046_029_254_386_353_131
_TOP_BITS: Final = 31  # what is kept of a hash: its upper half, which depends on every token


@dataclass(frozen=True)
class Lookup:
    """One pass's lookups: which rows, (B·T, K) int64, and their sums, which will hold the gradients."""

    rows: Tensor
    found: Tensor  # (B·T, C)


class NGramEmbedding(nn.Module):
    """The sum of one row per n-gram, n = 2 … `order`; rows begin as zeros, so a new model ignores them.

    Of a large table one pass touches little: autograd would fill the gradient of the rest with zeros. So
    `weight` is none of autograd's; training leaves its `lookups` with the gradients of what they found, from
    which `engine.table_rows` moves the rows. All n share the table: short strings are few and need few rows.
    """

    def __init__(self, order: int, rows: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        assert order >= 2, "one token has an embedding of its own"
        self.order = order
        self.dropout = dropout  # the share of tokens whose n-grams are withheld while training
        self.weight = nn.Parameter(torch.zeros(rows, width), requires_grad=False)
        self.lookups: list[Lookup] = []

    def forward(self, idx: Tensor, before: Tensor | None = None) -> Tensor:
        """idx (B, T) int64, and the tokens just `before` it (B, order - 1) → (B, T, C).

        Before the first token of a text there is nothing, which `before` writes as -1.
        """
        rows = self._rows_of(idx, self.nothing_before(idx) if before is None else before).flatten(0, 1)
        found = F.embedding_bag(rows, self.weight, mode="sum")  # (B·T, C)
        if self.training and torch.is_grad_enabled():
            self.lookups.append(Lookup(rows, found.requires_grad_()))
        total = found.view(*idx.shape, -1)
        if self.dropout and self.training:
            # Not scaled up for the rest: the norm that follows would take it back.
            total = total * (torch.rand(idx.shape, device=idx.device) >= self.dropout).unsqueeze(2)
        return total

    def nothing_before(self, idx: Tensor) -> Tensor:
        """`before` of texts that begin with idx (B, T)."""
        return idx.new_full((idx.shape[0], self.order - 1), -1)

    def _rows_of(self, idx: Tensor, before: Tensor) -> Tensor:  # → (B, T, K) int64
        tokens = torch.cat((before, idx), dim=1) + 1  # (B, K + T); 0 stands for nothing
        n_before, length = self.order - 1, idx.shape[1]
        key = tokens[:, n_before:]  # grows by one token to the left with each n
        rows = []
        for n in range(1, self.order):
            key = key * _STEP + tokens[:, n_before - n : n_before - n + length]
            rows.append(_hash(key) % len(self.weight))
        return torch.stack(rows, dim=2)


def _hash(key: Tensor) -> Tensor:
    """Spread the keys (int64) evenly over 0 … 2³² - 1."""
    return (key * _SPREAD) >> _TOP_BITS & 0xFFFF_FFFF

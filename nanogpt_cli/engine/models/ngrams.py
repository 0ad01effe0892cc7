"""Hashed n-gram embeddings: what the last few tokens were, looked up instead of computed.

A transformer spends its first iterations learning which short strings occur. Here the last 2, 3, …, `order`
tokens are each hashed to a row of a table, and the rows are added to the token's own embedding, so that the
blocks begin with that knowledge. Hashed n-grams: Bojanowski et al. 2017 (https://arxiv.org/abs/1607.04606);
before a transformer: the Byte Latent Transformer, Pagnoni et al. 2024 (https://arxiv.org/abs/2412.09871).
They cost a lookup and no matrix product. Shapes: B sequences, T tokens, C = n_embd.
"""

from typing import Final

import torch
from torch import Tensor, nn

# Knuth's multiplicative hashing (The Art of Computer Programming 3, 6.4): odd numbers near 2⁶⁴/φ and 2³²/φ.
# Products wrap around at 64 bits, on every device alike.
_STEP: Final = 2_654_435_761
_SPREAD: Final = -7_046_029_254_386_353_131
_TOP_BITS: Final = 31  # what is kept of a hash: its upper half, which depends on every token


class NGramEmbedding(nn.Module):
    """The sum of one row per n-gram, n = 2 … `order`; tables begin as zeros, so a new model ignores them."""

    def __init__(self, order: int, rows: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        assert order >= 2, "one token has an embedding of its own"
        self.order = order
        self.rows = rows
        self.dropout = dropout  # the share of tokens whose n-grams are withheld while training
        self.tables = nn.ModuleList(
            nn.Embedding(rows, width, _weight=torch.zeros(rows, width)) for _ in range(2, order + 1)
        )

    def forward(self, idx: Tensor, before: Tensor | None = None) -> Tensor:
        """idx (B, T) int64, and the tokens just `before` it (B, order - 1) → (B, T, C).

        Before the first token of a text there is nothing, which `before` writes as -1.
        """
        before = self.nothing_before(idx) if before is None else before
        tokens = torch.cat((before, idx), dim=1) + 1  # (B, order - 1 + T); 0 stands for nothing
        n_before, length = self.order - 1, idx.shape[1]
        key = tokens[:, n_before:]  # grows by one token to the left with each n
        total: Tensor | None = None
        for n, table in enumerate(self.tables, start=1):
            key = key * _STEP + tokens[:, n_before - n : n_before - n + length]
            found = table(_row(key, self.rows))
            total = found if total is None else total + found
        assert total is not None
        if self.dropout and self.training:
            # Not scaled up for the rest: the norm that follows would take it back.
            total = total * (torch.rand(idx.shape, device=idx.device) >= self.dropout).unsqueeze(2)
        return total

    def nothing_before(self, idx: Tensor) -> Tensor:
        """`before` of texts that begin with idx (B, T)."""
        return idx.new_full((idx.shape[0], self.order - 1), -1)


def _row(key: Tensor, rows: int) -> Tensor:
    """Spread the keys (int64) evenly over `rows`."""
    return ((key * _SPREAD) >> _TOP_BITS & 0xFFFF_FFFF) % rows

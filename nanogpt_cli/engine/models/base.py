"""What every architecture offers: a configuration, a forward pass, and what the engine needs to know of it.

Shapes: B sequences, T tokens, C = n_embd, V words.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from nanogpt_cli.engine.models.ngrams import NGramEmbedding


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of a model: everything needed to build it before its weights are loaded."""

    arch: ClassVar[str]

    vocab_size: int  # rows of the embedding, padding included
    block_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float = 0.0

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.n_embd // self.n_head


class LanguageModel(nn.Module):
    """A model over token ids. `forward` gives the loss when it is told the targets, else the last logits."""

    config: ModelConfig
    blocks: ClassVar[str]  # name of the list of transformer blocks
    tied: ClassVar[frozenset[str]] = frozenset()  # names in the state dict that are another name's tensor
    positions: ClassVar[str | None] = None  # name of the learned position embeddings, (block_size, C)

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """idx, targets (B, T) int64 → logits (B, T, V) and the mean loss in nats per token.

        Without targets only the last position's logits (B, 1, V) are computed, and the loss is None.
        A target of -1 is not counted. Where there are targets, the many logits of a large vocabulary are not
        kept: they are an empty tensor then.
        """
        raise NotImplementedError

    def num_params(self) -> int:
        """Parameters without position embeddings, as nanoGPT counts them (a tied head counts once)."""
        total = sum(p.numel() for p in self.parameters())
        return total - (self.get_parameter(self.positions).numel() if self.positions else 0)

    def lookup_tables(self) -> list[NGramEmbedding]:
        """Tables whose weights autograd knows nothing of; see `engine.table_rows`."""
        return []

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As torch's, and the tables' lookups are forgotten."""
        super().zero_grad(set_to_none)
        for tables in self.lookup_tables():
            tables.lookups.clear()

    def num_matmul_params(self) -> int:
        """The N of 6·N FLOPs per token: parameters that every token is multiplied with."""
        return self.num_params()

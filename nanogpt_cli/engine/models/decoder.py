"""Models made ready to write: weights in the format they are multiplied in, a cache of what has been read.

Training needs modules, hooks and gradients; writing one token at a time needs few calls, for a small model
spends its time between them. So each architecture has a decoder beside its module: the same mathematics on
the same weights, without dropout. Tests hold the two together.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.kv_cache import KVCache
from nanogpt_cli.engine.models.base import LanguageModel, ModelConfig


class Decoder(ABC):
    """Reads B texts side by side, and says what may follow. `start` comes first."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config

    @property
    @abstractmethod
    def length(self) -> int:
        """How many tokens of each text have been read, at most `size`."""

    @abstractmethod
    def start(self, batch: int, size: int) -> None:
        """Forget everything; make room for `batch` texts of `size` tokens, at most block_size."""

    @abstractmethod
    def read(self, idx: Tensor) -> Tensor:
        """idx (B, T) int64, what follows the tokens read so far → logits (B, V) float32 after the last.

        They are those of the model's `forward` over all the tokens, up to rounding.
        """

    @abstractmethod
    def forget(self) -> None:
        """Begin with the next `read` as if nothing had been read."""

    @abstractmethod
    def keep(self, rows: list[int]) -> None:
        """Go on with these of the texts alone."""


class Column:
    """Where the queries, keys and values of one more token for each of `batch` texts are written, and read.

    Made once: views cost as much as small products.
    """

    def __init__(self, batch: int, config: ModelConfig, like: Tensor) -> None:
        shape = (batch, 3, config.n_head, 1, config.head_size)
        heads = torch.empty(shape, device=like.device, dtype=like.dtype)
        self.qkv = heads.view(batch, -1)  # (B, 3·C)
        self.q = heads[:, 0]  # (B, H, 1, D)
        self.kv = heads[:, 1:].transpose(0, 1)  # (2, B, H, 1, D)


class CachedDecoder(Decoder):
    """What the architectures' decoders share: keys and values are kept."""

    def __init__(self, config: ModelConfig, hardware: Hardware) -> None:
        super().__init__(config)
        self.hardware = hardware
        self.start(1, 1)

    @property
    def length(self) -> int:
        return self.cache.length

    def start(self, batch: int, size: int) -> None:
        self.cache = KVCache(
            self.config, batch=batch, size=size, device=self.hardware.device, dtype=self.hardware.dtype
        )
        self.column = Column(batch, self.config, self.cache.buffer)

    def forget(self) -> None:
        self.cache.clear()

    def keep(self, rows: list[int]) -> None:
        self.cache.keep(rows)
        self.column = Column(len(rows), self.config, self.cache.buffer)

    def split(self, qkv: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """qkv (B·T, 3·C) → queries (B, H, T, D), keys and values (2, B, H, T, D)."""
        heads = qkv.view(-1, length, 3, self.config.n_head, self.config.head_size).permute(2, 0, 3, 1, 4)
        return heads[0], heads[1:]


class ForwardDecoder(Decoder):
    """The model as it is, over the whole text for every token: for weights that cannot be taken apart."""

    def __init__(self, model: LanguageModel, hardware: Hardware, vocab_size: int) -> None:
        super().__init__(model.config)
        self.model = model
        self.hardware = hardware
        self.vocab_size = vocab_size
        self.start(1, 1)

    @property
    def length(self) -> int:
        return self.text.shape[1]

    def start(self, batch: int, size: int) -> None:
        self.text = torch.empty((batch, 0), dtype=torch.int64, device=self.hardware.device)

    def read(self, idx: Tensor) -> Tensor:
        self.text = torch.cat((self.text, idx), dim=1)
        self.model.eval()
        with torch.no_grad(), self.hardware.autocast():
            logits, _ = self.model(self.text)
        return logits[:, -1, : self.vocab_size].float()

    def forget(self) -> None:
        self.text = self.text[:, :0]

    def keep(self, rows: list[int]) -> None:
        self.text = self.text[rows]

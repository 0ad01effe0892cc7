"""Keys and values of the tokens a model has read, so that the next costs one column and not the whole text.

One buffer for all layers, (L·2, B, H, size, D), written in place: keys and values of L layers, B sequences,
H heads, D = head_size. A CPU keeps them in float32, in which it attends; a GPU in the format of its products.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from nanogpt_cli.engine.models.base import ModelConfig


class KVCache:
    """The first `length` of `size` positions are filled, the same number in every layer and sequence."""

    def __init__(
        self, config: ModelConfig, *, batch: int, size: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.length = 0
        self.size = size
        self._layers = config.n_layer
        shape = (2 * config.n_layer, batch, config.n_head, size, config.head_size)
        self._buffer = torch.empty(shape, device=device, dtype=_stored(device, dtype))
        # Of the forward pass under way: where its keys and values go, and all there are then, layer by layer.
        self._slots: tuple[Tensor, ...] = ()
        self._filled: tuple[Tensor, ...] = ()
        self._mask: Tensor | None = None
        self._causal = False

    def begin(self, count: int) -> None:
        """A forward pass over the next `count` tokens starts: from here on they belong to `length`."""
        end = self.length + count
        assert end <= self.size, "the caller clears the cache before it overflows"
        self._slots = self._buffer[:, :, :, self.length : end].chunk(self._layers)
        self._filled = self._buffer[:, :, :, :end].unbind()
        self._causal = self.length == 0 and count > 1
        self._mask = None
        if self.length and count > 1:  # token t sees all before the pass, and the pass up to itself
            ones = torch.ones(count, end, dtype=torch.bool, device=self._buffer.device)
            self._mask = ones.tril(self.length)
        self.length = end

    def attend(self, layer: int, q: Tensor, kv: Tensor) -> Tensor:
        """Keep keys and values kv (2, B, H, T, D) of a layer; queries q (B, H, T, D) → (B, H, T, D)."""
        self._slots[layer].copy_(kv)
        keys, values = self._filled[2 * layer], self._filled[2 * layer + 1]
        same = q.dtype == keys.dtype  # no call where there is nothing to cast
        y = F.scaled_dot_product_attention(
            q if same else q.to(keys.dtype),
            keys,
            values,
            attn_mask=self._mask,
            is_causal=self._causal,
        )
        return y if same else y.to(q.dtype)

    def clear(self) -> None:
        """Forget every token; the buffer stays."""
        self.length = 0

    def keep(self, rows: list[int]) -> None:
        """Go on with these sequences alone."""
        self._buffer = self._buffer[:, rows]


def bytes_per_sequence(config: ModelConfig, size: int, dtype: torch.dtype, device: torch.device) -> int:
    """Memory that one sequence of `size` tokens takes in a cache."""
    return 2 * config.n_layer * config.n_embd * size * _stored(device, dtype).itemsize


def _stored(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if device.type == "cpu" else dtype

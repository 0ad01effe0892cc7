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
        self._width = config.n_embd
        shape = (2 * config.n_layer, batch, config.n_head, size, config.head_size)
        self.buffer = torch.empty(shape, device=device, dtype=_stored(device, dtype))
        # Of the forward pass under way: where its keys and values go, and all there are then, layer by layer.
        self._slots: tuple[Tensor, ...] = ()
        self._filled: tuple[Tensor, ...] = ()
        self._mask: Tensor | None = None
        self._causal = False

    def begin(self, count: int) -> None:
        """A forward pass over the next `count` tokens starts: from here on they belong to `length`."""
        end = self.length + count
        assert end <= self.size, "the caller clears the cache before it overflows"
        self._slots = self.buffer.narrow(3, self.length, count).chunk(self._layers)
        self._filled = self.buffer.narrow(3, 0, end).unbind()
        self._causal = self.length == 0 and count > 1
        self._mask = None
        if self.length and count > 1:  # token t sees all before the pass, and the pass up to itself
            ones = torch.ones(count, end, dtype=torch.bool, device=self.buffer.device)
            self._mask = ones.tril(self.length)
        self.length = end

    def attend(self, layer: int, q: Tensor, kv: Tensor) -> Tensor:
        """Keep keys and values kv (2, B, H, T, D) of a layer; queries q of all T tokens, or of the last.

        q (B, H, T or 1, D) → (B·T or B, C), in the format of q.
        """
        self._slots[layer].copy_(kv)
        keys, values = self._filled[2 * layer], self._filled[2 * layer + 1]
        same = q.dtype == keys.dtype  # no call where there is nothing to cast
        every = q.shape[2] == kv.shape[3]  # else the last, which sees all
        y = F.scaled_dot_product_attention(
            q if same else q.to(keys.dtype),
            keys,
            values,
            attn_mask=self._mask if every else None,
            is_causal=self._causal and every,
        )
        y = y.transpose(1, 2).reshape(-1, self._width)
        return y if same else y.to(q.dtype)

    def clear(self) -> None:
        """Forget every token; the buffer stays."""
        self.length = 0

    def keep(self, rows: list[int]) -> None:
        """Go on with these sequences alone."""
        self.buffer = self.buffer[:, rows]


def bytes_per_sequence(config: ModelConfig, size: int, dtype: torch.dtype, device: torch.device) -> int:
    """Memory that one sequence of `size` tokens takes in a cache."""
    return 2 * config.n_layer * config.n_embd * size * _stored(device, dtype).itemsize


def _stored(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if device.type == "cpu" else dtype

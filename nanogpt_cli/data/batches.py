"""Counter-based batches: the global batch of iteration i depends on (seed, i) alone.

So resuming replays nothing and skips nothing, and the number of processes changes no data: each rank takes
its rows of the same global batch. Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3")
turns key and counter into numbers without any state to carry along.
"""

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nanogpt_cli.data.token_files import Tokens
from nanogpt_cli.errors import NanoGPTError


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Windows of one split. `tokens` are ids in order, usually memory-mapped files.

    order "random" draws windows with replacement, uniformly over the split, as nanoGPT: after one epoch's
    worth of tokens 1/e = 37 % of the text is still unseen. "shuffle" sees every window once per epoch, in a
    new order and at a new offset each time.
    """

    tokens: Tokens
    block_size: int
    seed: int
    order: Literal["random", "shuffle"] = "random"

    def starts(self, index: int, size: int) -> np.ndarray:
        """First positions of the `size` windows of batch `index`, (size,) int64."""
        if self.order == "random":
            generator = _generator(self.seed, index)
            return generator.integers(0, len(self.tokens) - self.block_size, size=size)
        n_windows = self._windows_per_epoch
        drawn = np.arange(index * size, (index + 1) * size)  # windows are numbered through all epochs
        epochs, positions = np.divmod(drawn, n_windows)
        starts = np.empty(size, dtype=np.int64)
        for epoch in np.unique(epochs):
            offset, permutation = _epoch_order(self.seed, int(epoch), n_windows, self._spare_tokens + 1)
            chosen = epochs == epoch
            starts[chosen] = offset + permutation[positions[chosen]] * self.block_size
        return starts

    def batch(self, index: int, size: int, rows: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of batch `index`, each (rows, block_size) int64; targets are one token ahead."""
        return self._windows(self.starts(index, size)[rows])

    def even_batch(self, index: int, size: int, n_batches: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch `index` of `n_batches` whose windows lie at equal distances over the whole split.

        A systematic sample: every part of the text counts alike, whatever the seed, so that the estimates of
        two evaluations, and of two runs, differ by their models alone.
        """
        total = size * n_batches
        places = (np.arange(index, total, n_batches) + 0.5) / total  # each batch spans the split as well
        starts = (places * (len(self.tokens) - self.block_size)).astype(np.int64)
        return self._windows(starts)

    def windows(self, starts: np.ndarray) -> np.ndarray:
        """The ids from each of `starts` (n,) on, and one more, (n, block_size + 1) in the files' type."""
        return self.tokens[starts[:, None] + np.arange(self.block_size + 1)]

    def _windows(self, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        windows = self.windows(starts).astype(np.int64)
        return windows[:, :-1], windows[:, 1:]

    @property
    def _windows_per_epoch(self) -> int:
        """Windows side by side, one fewer than fit where that leaves no token to shift them by."""
        return max(1, (len(self.tokens) - 1) // self.block_size - 1)

    @property
    def _spare_tokens(self) -> int:
        """By how much the windows of an epoch can be shifted, so that their borders differ each time."""
        return min(self.block_size - 1, len(self.tokens) - 1 - self._windows_per_epoch * self.block_size)


def _generator(seed: int, counter: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, counter]))


@functools.lru_cache(maxsize=4)  # an epoch and the next
def _epoch_order(seed: int, epoch: int, n_windows: int, n_offsets: int) -> tuple[int, np.ndarray]:
    """Where the epoch's windows begin, and their order, (n_windows,) int64."""
    generator = _generator(seed, epoch)
    return int(generator.integers(0, n_offsets)), generator.permutation(n_windows)


def check_length(split: str, n_tokens: int, block_size: int) -> None:
    """Raise NanoGPTError when a split is too short for a single window and its target."""
    if n_tokens > block_size:
        return
    longer = "again with a larger --val-fraction" if split == "val" else "a longer text"
    advice = f"use --block-size {max(1, n_tokens - 1)} or smaller, or prepare {longer}"
    raise NanoGPTError(
        f"the {split} split has {n_tokens:,} tokens, but block_size = {block_size:,} needs at least "
        f"{block_size + 1:,}",
        advice,
    )

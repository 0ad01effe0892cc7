"""Counter-based batches: the global batch of iteration i depends on (seed, stream, i) alone.

So resuming replays nothing and skips nothing, and the number of processes changes no data: each rank takes
its rows of the same global batch. Windows are drawn with replacement, uniformly over the split, as nanoGPT.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from nanogpt_cli.errors import NanoGPTError

# Streams keep the draws of training and of the two evaluations apart under one seed.
TRAIN_STREAM: Final = 0
EVAL_TRAIN_STREAM: Final = 1
EVAL_VAL_STREAM: Final = 2


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Random windows of one split. `tokens` is a 1-D array of ids, usually a memory map."""

    tokens: np.ndarray
    block_size: int
    seed: int
    stream: int

    def starts(self, index: int, size: int) -> np.ndarray:
        """First positions of the `size` windows of batch `index`, (size,) int64.

        Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") turns key and counter into
        numbers without any state to carry along.
        """
        generator = np.random.Generator(
            np.random.Philox(
                key=np.array([self.seed, self.stream], dtype=np.uint64), counter=[0, 0, 0, index]
            )
        )
        return generator.integers(0, len(self.tokens) - self.block_size, size=size)

    def batch(self, index: int, size: int, rows: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of batch `index`, each (rows, block_size) int64; targets are one token ahead."""
        starts = self.starts(index, size)[rows]
        windows = self.tokens[starts[:, None] + np.arange(self.block_size + 1)].astype(np.int64)
        return windows[:, :-1], windows[:, 1:]


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

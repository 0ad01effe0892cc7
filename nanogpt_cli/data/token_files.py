"""The ids of a split, whether they lie in one file or in hundreds of shards.

Whoever reads tokens needs three things of them: their number, a run of them, and any of them at once. A
memory-mapped file is such a `Tokens`, and so are many files that are read as one.
"""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from nanogpt_cli.data.binfile import open_tokens

# Each mapping holds a file descriptor (https://docs.python.org/3/library/mmap.html, trackfd), and 1,024 of
# them, sometimes 256, are all that a process is given. Opening one again takes about 20 µs.
_OPEN_FILES: Final = 128


class Tokens(Protocol):
    """Ids of one split in order: what batches and evaluation read."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: slice | np.ndarray, /) -> np.ndarray:
        """A run of them, or those at any positions >= 0, in the shape of `index`."""


@dataclass(frozen=True, kw_only=True)
class TokenFile:
    """One file of ids; those of llm.c begin with a header."""

    path: Path
    tokens: int
    header_bytes: int = 0


def open_token_files(parts: Sequence[TokenFile], dtype: np.dtype) -> Tokens:
    """The ids of all `parts` in order, mapped read-only from the disk."""
    if len(parts) == 1:
        return open_tokens(parts[0].path, dtype, header_bytes=parts[0].header_bytes)
    return ShardedTokens(parts, dtype)


class ShardedTokens:
    """Several files read as one array: a window that crosses a border is the same as in one file.

    The files are mapped when they are first needed, and only so many at a time.
    """

    def __init__(self, parts: Sequence[TokenFile], dtype: np.dtype, open_files: int = _OPEN_FILES) -> None:
        assert all(part.tokens for part in parts), "an empty file has no place in the order"
        self._parts = tuple(parts)
        self._dtype = dtype
        self._ends = np.cumsum([part.tokens for part in parts], dtype=np.int64)  # (files,)
        self._opened = functools.lru_cache(maxsize=open_files)(self._open)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: slice | np.ndarray, /) -> np.ndarray:
        """A copy, in the files' type."""
        return self._run(index) if isinstance(index, slice) else self._gather(index)

    def _open(self, part: int) -> np.ndarray:
        # A plain array over the mapping: indexing np.memmap itself costs a few µs more each time.
        file = self._parts[part]
        return open_tokens(file.path, self._dtype, header_bytes=file.header_bytes).view(np.ndarray)

    def _run(self, wanted: slice) -> np.ndarray:
        start, stop, step = wanted.indices(len(self))
        assert step == 1, "tokens are read forwards, one after the other"
        runs = [np.empty(0, dtype=self._dtype)]
        first = int(np.searchsorted(self._ends, start, side="right"))
        for part in range(first, len(self._parts)):
            begin = int(self._ends[part]) - self._parts[part].tokens
            if begin >= stop:
                break
            runs.append(self._opened(part)[max(0, start - begin) : stop - begin])
        return np.concatenate(runs)

    def _gather(self, index: np.ndarray) -> np.ndarray:
        """Sorted by file (numpy sorts 8 and 16-bit numbers by radix), then read file by file."""
        flat = index.ravel()
        if flat.size and (int(flat.min()) < 0 or int(flat.max()) >= len(self)):
            raise IndexError(f"positions must lie in 0 … {len(self) - 1}")
        parts = np.searchsorted(self._ends, flat, side="right").astype(np.min_scalar_type(len(self._parts)))
        order = np.argsort(parts, kind="stable")
        touched, firsts = np.unique(parts[order], return_index=True)
        out = np.empty(flat.size, dtype=self._dtype)
        for part, (first, end) in zip(
            touched.tolist(), itertools.pairwise([*firsts.tolist(), flat.size]), strict=True
        ):
            chosen = order[first:end]
            begin = int(self._ends[part]) - self._parts[part].tokens
            out[chosen] = self._opened(part)[flat[chosen] - begin]
        return out.reshape(index.shape)

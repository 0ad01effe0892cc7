"""Files of token ids: raw little-endian integers without a header, as nanoGPT reads and writes them.

uint16 up to a vocabulary of 65,536, uint32 beyond. Nothing in the file says which: `meta.json` does.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Progress, Reporter

_SCAN_BYTES: Final = 1 << 22  # a multiple of both item sizes


def dtype_for(vocab_size: int) -> np.dtype:
    """The type on disk for ids 0 … vocab_size - 1: little-endian uint16 or uint32."""
    assert 0 < vocab_size <= 1 << 32, vocab_size
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


class BinWriter:
    """Appends token ids to a file, and hashes them: two jobs, that two threads can do at the same time.

    `kept_tokens` are those of an earlier attempt that stay; whatever the file holds beyond them goes.
    """

    def __init__(self, path: Path, dtype: np.dtype, *, kept_tokens: int = 0) -> None:
        self.path = path
        self.tokens = kept_tokens
        self._dtype = dtype
        self._digest = hashlib.sha256()
        self._file = path.open("r+b" if kept_tokens else "wb")
        if kept_tokens:
            self._keep(kept_tokens * dtype.itemsize)

    def _keep(self, size_bytes: int) -> None:
        left = size_bytes
        while left and (raw := self._file.read(min(left, _SCAN_BYTES))):
            self._digest.update(raw)
            left -= len(raw)
        self._file.truncate(size_bytes)
        self._file.seek(size_bytes)

    def as_stored(self, ids: np.ndarray) -> np.ndarray:
        """`ids`, (T,), as bytes of the file."""
        if ids.dtype != self._dtype:
            top = np.iinfo(self._dtype).max
            assert not ids.size or int(ids.max()) <= top, "ids do not fit the file's type"
        return np.ascontiguousarray(ids, dtype=self._dtype).view(np.uint8)

    def write(self, raw: np.ndarray) -> None:
        """Append what `as_stored` gave."""
        self._file.write(raw.data)
        self.tokens += len(raw) // self._dtype.itemsize

    def see(self, raw: np.ndarray) -> None:
        """Hash what is, or will be, appended: everything in the same order."""
        self._digest.update(raw.data)

    def sync(self) -> None:
        """Force all that was written to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of everything seen so far."""
        return self._digest.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def open_tokens(path: Path, dtype: np.dtype, *, header_bytes: int = 0) -> np.memmap:
    """The ids of a file, (tokens,), mapped read-only: nothing is read until it is used."""
    return np.memmap(path, dtype=dtype, mode="r", offset=header_bytes)


def count_tokens(
    path: Path,
    dtype: np.dtype,
    *,
    expected: int | None,
    hint: str,
    header_bytes: int = 0,
    said_by: str = "meta.json",
) -> int:
    """Tokens in a file by its size; a broken size, or another than `expected` (`said_by`), is an error."""
    try:
        size = path.stat().st_size - header_bytes
    except FileNotFoundError:
        raise NanoGPTError(f"{path} is missing", hint) from None
    if size % dtype.itemsize:
        raise NanoGPTError(
            f"{path} is damaged: {size:,} bytes are not a whole number of {dtype.itemsize}-byte token ids",
            hint,
        )
    tokens = size // dtype.itemsize
    if expected is not None and tokens < expected:
        raise NanoGPTError(f"{path} is truncated: it has {tokens:,} of {expected:,} tokens", hint)
    if expected is not None and tokens > expected:
        raise NanoGPTError(f"{path} has {tokens:,} tokens where {said_by} says {expected:,}", hint)
    if tokens == 0:
        raise NanoGPTError(f"{path} is empty", hint)
    return tokens


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What reading a whole file of tokens tells."""

    sha256: str
    max_id: int


def scan(path: Path, dtype: np.dtype, reporter: Reporter, *, header_bytes: int = 0) -> Scan:
    """Read a whole file once for its SHA-256, header included, and its largest id, in constant memory."""
    digest = hashlib.sha256()
    max_id = 0
    total = path.stat().st_size
    with path.open("rb") as file:
        digest.update(file.read(header_bytes))
        done = header_bytes
        while raw := file.read(_SCAN_BYTES):
            digest.update(raw)
            whole = len(raw) - len(raw) % dtype.itemsize
            max_id = max(max_id, int(np.frombuffer(raw[:whole], dtype=dtype).max(initial=0)))
            done += len(raw)
            reporter.emit(Progress(task=f"verifying {path.name}", done=done, total=total, unit="bytes"))
    return Scan(sha256=digest.hexdigest(), max_id=max_id)

"""One chunk of text to token ids: what the threads do. Nothing here depends on another chunk."""

import threading
from dataclasses import dataclass

import numpy as np

from nanogpt_cli.data.binfile import dtype_for
from nanogpt_cli.data.preparing.streaming import TRAIN, VAL, Part
from nanogpt_cli.data.preparing.survey import utf8_of
from nanogpt_cli.data.tokenizers.base import Tokenizer


@dataclass(frozen=True, kw_only=True)
class SideChunk:
    """What a chunk adds to one split."""

    ids: np.ndarray  # (T,)
    text_bytes: int
    documents: int  # that end here


@dataclass(frozen=True, kw_only=True)
class EncodedChunk:
    """A chunk as it goes to the disk; `text` is its UTF-8, for the checksum of the whole."""

    text: bytes
    characters: int
    sides: tuple[SideChunk, SideChunk]  # train, val


class IdsUsed:
    """Which ids occur; several threads may add at once, as nothing is ever taken back."""

    def __init__(self, vocab_size: int) -> None:
        self.seen = np.zeros(vocab_size, dtype=bool)
        self._lock = threading.Lock()

    def add(self, ids: np.ndarray) -> None:
        """Every id in `ids`, (T,)."""
        known = self.seen.take(ids)  # most have been seen: looking is cheaper than setting
        if not known.all():
            with self._lock:
                self.seen[ids[~known]] = True


class ChunkEncoder:
    """Encodes chunks; `end_of_text` follows every document where it is given."""

    def __init__(
        self, tokenizer: Tokenizer, *, end_of_text: int | None, used: IdsUsed | None, label: str
    ) -> None:
        self._tokenizer = tokenizer
        self._used = used
        self._label = label
        dtype = dtype_for(tokenizer.vocab_size)
        self._end = None if end_of_text is None else np.array([end_of_text], dtype=dtype)
        # Joined, many small documents cost one call; byte pairs would merge across their borders.
        self._joins = end_of_text is None and tokenizer.kind in {"char", "byte"}

    def __call__(self, chunk: list[Part]) -> EncodedChunk:
        """Encode one chunk, as the source holds it."""
        raws = [utf8_of(part.text, self._label) for part in chunk]
        train, val = (
            self._side([(part, raw) for part, raw in zip(chunk, raws, strict=True) if part.side == side])
            for side in (TRAIN, VAL)
        )
        return EncodedChunk(
            text=raws[0] if len(raws) == 1 else b"".join(raws),
            characters=sum(len(part.text) for part in chunk),
            sides=(train, val),
        )

    def _side(self, parts: list[tuple[Part, bytes]]) -> SideChunk:
        ids = self._ids([part for part, _ in parts])
        if self._used is not None and ids.size:
            self._used.add(ids)
        return SideChunk(
            ids=ids,
            text_bytes=sum(len(raw) for _, raw in parts),
            documents=sum(part.ends for part, _ in parts),
        )

    def _ids(self, parts: list[Part]) -> np.ndarray:
        if self._joins or not parts:
            return self._tokenizer.encode("".join(part.text for part in parts), what="the text")
        arrays: list[np.ndarray] = []
        for part in parts:
            arrays.append(self._tokenizer.encode(part.text, what="the text"))
            if self._end is not None and part.ends:
                arrays.append(self._end)
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

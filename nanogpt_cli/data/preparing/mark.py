"""How far the writing of a dataset has come: all that a resumed job must know, small enough for JSON."""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class SideMark:
    """What one split holds on the disk."""

    tokens: int = 0
    bytes: int = 0
    documents: int = 0
    sha256: str = ""  # of the tokens


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Some inputs as wholes, and the first `chunks` chunks of the next one, are on the disk."""

    inputs_sha256: tuple[str, ...] = ()  # of the UTF-8 of the whole ones
    chunks: int = 0
    text_sha256: str = ""  # of the UTF-8 of these chunks
    fraction: float = 0.0  # of the whole job
    train: SideMark = SideMark()
    val: SideMark = SideMark()
    used: str = ""  # the ids that occur so far, one bit each, in base64

    def to_document(self) -> dict[str, object]:
        """As JSON."""
        return asdict(self)


def mark_from_document(document: Mapping[str, Any]) -> Mark:
    """The inverse of `Mark.to_document`; raises KeyError or TypeError for anything else."""
    sides = {name: SideMark(**document[name]) for name in ("train", "val")}
    return Mark(**{**document, **sides, "inputs_sha256": tuple(document["inputs_sha256"])})


def pack_ids(seen: np.ndarray) -> str:
    """A boolean for each id, (V,), as text."""
    return base64.b64encode(np.packbits(seen).tobytes()).decode("ascii")


def unpack_ids(text: str, vocab_size: int) -> np.ndarray:
    """The inverse of `pack_ids`, (V,) bool; an empty text means that none has been seen."""
    if not text:
        return np.zeros(vocab_size, dtype=bool)
    bits = np.unpackbits(np.frombuffer(base64.b64decode(text), dtype=np.uint8), count=vocab_size)
    return bits.astype(bool)

"""Which text trains and which validates.

One text is split by position, as nanoGPT does: its end validates. Of a collection whole documents are drawn,
in an order that the seed and their numbers decide, until they hold the share of the text that was asked for.
In a large collection the share comes by itself: there the side of document i depends on the seed and i alone.
A validation text of one's own (--val-file) leaves the sources all for training.
"""

import functools
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from nanogpt_cli.data.meta import DatasetMeta, SplitRule
from nanogpt_cli.data.preparing.survey import MOST_SIZES, Survey
from nanogpt_cli.errors import NanoGPTError

_WHOLE: Final = sys.maxsize  # every character of a document
_DRAWN_AT_ONCE: Final = MOST_SIZES


@dataclass(frozen=True, kw_only=True)
class Split:
    """The decision for one source."""

    rule: SplitRule
    position: int = 0  # other rules than documents: characters of each document that train
    drawn: frozenset[int] | None = None  # rule documents: those that validate, unless they are very many
    val_fraction: float = 0.0  # rule documents with very many, as the next one
    seed: int = 0

    def train_characters(self, document: int) -> int:
        """How many characters of document number `document` train."""
        if self.rule == "documents":
            return 0 if self._validates(document) else _WHOLE
        return self.position

    def _validates(self, document: int) -> bool:
        if self.drawn is not None:
            return document in self.drawn
        block, place = divmod(document, _DRAWN_AT_ONCE)
        return bool(_draws(self.seed, block)[place] < self.val_fraction)

    def to_document(self) -> dict[str, object]:
        """As JSON."""
        return {**vars(self), "drawn": None if self.drawn is None else sorted(self.drawn)}


def split_from_document(document: Mapping[str, Any]) -> Split:
    """The inverse of `Split.to_document`; raises KeyError or TypeError for anything else."""
    drawn = document["drawn"]
    return Split(**{**document, "drawn": None if drawn is None else frozenset(drawn)})


def choose_split(
    found: Survey,
    *,
    sizes: Sequence[int] = (),
    collection: bool,
    side: Literal["train", "val"] | None,
    val_fraction: float,
    seed: int,
    label: str,
) -> Split:
    """How to split a text that has been surveyed; an empty split is an error.

    `side` is given where there is a validation text of its own: all of this text goes there. `sizes` are the
    characters of each document of a collection, or of the first ones where they are very many.
    """
    if side is not None:
        _check_any(found, label)
        return Split(rule="val_file", position=_WHOLE if side == "train" else 0)
    if collection and found.documents > 1:
        drawn = _draw(sizes, val_fraction, seed) if len(sizes) == found.documents else None
        return Split(rule="documents", drawn=drawn, val_fraction=val_fraction, seed=seed)
    return Split(rule="position", position=_position(found, val_fraction, label))


def _draw(sizes: Sequence[int], val_fraction: float, seed: int) -> frozenset[int]:
    """The documents that validate: each that is drawn and brings their text nearer to its share.

    So one that is far too long is left to train. At least one document is on either side.
    """
    wanted = sum(sizes) * val_fraction
    order = [int(number) for number in np.argsort(_draws(seed, 0)[: len(sizes)], kind="stable")]
    drawn: set[int] = set()
    for number in order:
        if sizes[number] < 2 * wanted and len(drawn) < len(sizes) - 1:
            drawn.add(number)
            wanted -= sizes[number]
    return frozenset(drawn or {min(order, key=lambda number: sizes[number])})


@functools.lru_cache(maxsize=4)
def _draws(seed: int, block: int) -> np.ndarray:
    """Numbers in [0, 1) for 65,536 documents; Philox needs no state to begin anywhere (see batches.py)."""
    generator = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, block]))
    return generator.random(_DRAWN_AT_ONCE)


def _position(found: Survey, val_fraction: float, label: str) -> int:
    """How many characters train gets, as nanoGPT counts."""
    position = int(found.characters * (1 - val_fraction))
    if 0 < position < found.characters:
        return position
    if found.characters < 2:
        _check_any(found, label)
        raise _too_little(label, "1 character")
    which = "training" if position == 0 else "validation"
    raise NanoGPTError(
        f"{label} has only {found.characters} characters: with --val-fraction {val_fraction} "
        f"no {which} text is left",
        "give a longer text, or split it evenly: --val-fraction 0.5",
    )


def _check_any(found: Survey, label: str) -> None:
    if found.characters == 0:
        raise _too_little(label, "no text")


def too_short_hint(meta: DatasetMeta, block_size: int) -> str:
    """What to type when a split has fewer than `block_size + 1` tokens."""
    needed = block_size + 1
    train, val = meta.splits["train"].tokens, meta.splits["val"].tokens
    smaller = f"--block-size {min(train, val) - 1} if you will train with that" if min(train, val) > 1 else ""
    if meta.split_rule == "val_file":
        return f"give a longer text, or {smaller}" if smaller else "give a longer text"
    # A little more than needed, as tokens are not spread evenly over a text.
    fraction = math.ceil(110 * needed / (train + val)) / 100
    if train >= val and fraction <= 0.5 and meta.split_rule == "position":
        better = f"--val-fraction {max(fraction, 0.01):g}"
        return f"{better}, or {smaller}" if smaller else better
    if smaller:
        return f"{smaller}, or give a longer text"
    return "give a longer text, or another share: --val-fraction 0.5"


def _too_little(label: str, count: str) -> NanoGPTError:
    shown = "standard input" if label == "-" else label
    return NanoGPTError(
        f"{shown} holds {count}, too little to split into train and val",
        "give a longer text, or try: nanogpt prepare python-docs --tokenizer char",
    )

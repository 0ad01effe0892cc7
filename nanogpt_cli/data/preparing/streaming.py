"""Cut a stream of documents into chunks to be encoded one by one, with the tokens the whole text would have.

Characters and bytes can be cut anywhere. Byte-pair encodings first split a text into words, and a text may
only be cut where such a split is certain whatever comes next: `Tokenizer.safe_cut` knows.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from nanogpt_cli.data.sources.base import Source

TRAIN: Final = 0
VAL: Final = 1
# Many small documents make one chunk of at least this size, which with its ids fits a core's cache.
CHUNK_CHARACTERS: Final = 1 << 18
_MAX_PENDING_CHARACTERS: Final = 1 << 20


class Part(NamedTuple):
    """A stretch of one document, encoded by itself."""

    side: int  # TRAIN or VAL
    text: str
    ends: bool  # whether the document ends here


def chunks(
    source: Source, train_characters: Callable[[int], int], safe_cut: Callable[[str], int]
) -> Iterator[list[Part]]:
    """The source in chunks; `train_characters(i)` says how many characters of document i are for train.

    The rest of the document is for val. Documents are counted from 0, empty ones left out. The same pieces
    give the same chunks.
    """
    chunk: list[Part] = []
    size = number = 0
    for document in source.documents():
        pieces = _with_last(_short(document))
        first = next(pieces, None)
        if first is None:
            continue
        for part in _parts(itertools.chain([first], pieces), train_characters(number), safe_cut):
            chunk.append(part)
            size += len(part.text)
            if size >= CHUNK_CHARACTERS:
                yield chunk
                chunk, size = [], 0
        number += 1
    if chunk:
        yield chunk


def _short(pieces: Iterable[str]) -> Iterator[str]:
    """The same text in pieces that are no larger than a chunk, so that every thread gets some."""
    for text in pieces:
        if len(text) <= CHUNK_CHARACTERS:
            yield from (text,) if text else ()
        else:
            for start in range(0, len(text), CHUNK_CHARACTERS):
                yield text[start : start + CHUNK_CHARACTERS]


def _with_last(pieces: Iterator[str]) -> Iterator[tuple[str, bool]]:
    """Each piece, and whether it is the last."""
    waiting = next(pieces, None)
    if waiting is None:
        return
    for piece in pieces:
        yield waiting, False
        waiting = piece
    yield waiting, True


def _parts(pieces: Iterator[tuple[str, bool]], room: int, safe_cut: Callable[[str], int]) -> Iterator[Part]:
    """One document, its first `room` characters for train, where it does not end if more follow."""
    words = _WholeWords(safe_cut)
    side = TRAIN if room else VAL
    for text, last in pieces:
        if side == TRAIN and len(text) > room:
            if rest := words.rest() + text[:room]:
                yield Part(TRAIN, rest, ends=False)
            text, room, side = text[room:], 0, VAL
        if last:
            yield Part(side, words.rest() + text, ends=True)
        elif ready := words.feed(text):
            yield Part(side, ready, ends=False)
        room -= len(text)


class _WholeWords:
    """Holds text back until it is certain where its last word ends."""

    def __init__(self, safe_cut: Callable[[str], int]) -> None:
        self._safe_cut = safe_cut
        self._pending: list[str] = []

    def feed(self, text: str) -> str:
        """All of the text so far, and not given before, that can be encoded for certain."""
        cut = self._safe_cut(text)
        # A text without a single word end, such as one endless number, is cut all the same in the end:
        # the tokens at that one place then differ, and memory stays bounded.
        if cut == 0 and sum(map(len, self._pending)) + len(text) >= _MAX_PENDING_CHARACTERS:
            cut = len(text)
        if cut == 0:
            self._pending.append(text)
            return ""
        ready = "".join([*self._pending, text[:cut]])
        self._pending = [text[cut:]]
        return ready

    def rest(self) -> str:
        """What was held back, now that nothing follows."""
        rest = "".join(self._pending)
        self._pending = []
        return rest

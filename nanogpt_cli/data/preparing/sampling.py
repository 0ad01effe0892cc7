"""A sample of a text of unknown length, spread evenly over it, in bounded memory."""

from collections.abc import Iterator
from typing import Final

_STRETCH_CHARACTERS: Final = 1 << 16


class EvenSample:
    """Keeps every k-th stretch of text, and doubles k whenever there are too many.

    A text that fits into the budget is kept whole; of a longer one, between half the budget and all of it.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._kept: list[tuple[list[str], int]] = []  # pieces of text, and their UTF-8 bytes
        self._kept_bytes = 0
        self._every = 1
        self._seen = 0

    def add(self, texts: list[str]) -> None:
        """The next pieces of the text; a piece is never joined to the next one."""
        for stretch in _stretches(texts):
            if self._seen % self._every == 0:
                size_bytes = sum(len(text.encode("utf-8", "replace")) for text in stretch)
                self._kept.append((stretch, size_bytes))
                self._kept_bytes += size_bytes
                while self._kept_bytes > self._budget_bytes and len(self._kept) > 1:
                    self._kept = self._kept[::2]
                    self._kept_bytes = sum(size for _, size in self._kept)
                    self._every *= 2
            self._seen += 1

    def __iter__(self) -> Iterator[str]:
        for stretch, _ in self._kept:
            yield from stretch


def _stretches(texts: list[str]) -> Iterator[list[str]]:
    """Many short pieces together, long ones in parts."""
    stretch: list[str] = []
    size = 0
    for text in texts:
        for start in range(0, len(text), _STRETCH_CHARACTERS):
            stretch.append(text[start : start + _STRETCH_CHARACTERS])
            size += len(stretch[-1])
            if size >= _STRETCH_CHARACTERS:
                yield stretch
                stretch, size = [], 0
    if stretch:
        yield stretch

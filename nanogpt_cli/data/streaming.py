"""Encode a text that arrives in pieces, with the result the whole text would have.

Characters and bytes can be cut anywhere. Byte-pair encodings first split a text into words, and a piece may
only be cut where such a split is certain whatever comes next.
"""

from typing import Final

import numpy as np

from nanogpt_cli.data.tokenizers import Tokenizer

_MAX_PENDING_CHARACTERS: Final = 1 << 20


class StreamEncoder:
    """Feed it a document's text piece by piece; `finish` ends the document and gives what is left."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._pending: list[str] = []

    def feed(self, text: str) -> np.ndarray:
        """Ids of all that can be encoded for certain so far, (T,)."""
        cut = self._tokenizer.safe_cut(text)
        # A text without a single word end, such as one endless number, is cut all the same in the end:
        # the tokens at that one place then differ, and memory stays bounded.
        if cut == 0 and sum(map(len, self._pending)) + len(text) >= _MAX_PENDING_CHARACTERS:
            cut = len(text)
        if cut == 0:
            self._pending.append(text)
            return self._encode("")
        ready = "".join([*self._pending, text[:cut]])
        self._pending = [text[cut:]]
        return self._encode(ready)

    def finish(self) -> np.ndarray:
        """Ids of the rest of the document, (T,)."""
        rest = "".join(self._pending)
        self._pending = []
        return self._encode(rest)

    def _encode(self, text: str) -> np.ndarray:
        return self._tokenizer.encode(text, what="the text")

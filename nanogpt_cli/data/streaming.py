"""Encode a text that arrives in pieces, with the result the whole text would have.

Characters and bytes can be cut anywhere. Byte-pair encodings first split a text into words, and a piece may
only be cut where such a split is certain whatever comes next.
"""

from typing import Final

import numpy as np

from nanogpt_cli.data.tokenizers import Tokenizer

# Between a letter and one of these, every tiktoken pattern ends a word, and no word before it depends on what
# follows: letters are matched greedily, and only an apostrophe can continue them. (The patterns:
# https://github.com/openai/tiktoken/blob/main/tiktoken_ext/openai_public.py)
_WORD_ENDS: Final = frozenset(" \t\r\n\u3000,.;:!?，。、；：！？…—()（）「」『』《》“”")
_MAX_PENDING_CHARACTERS: Final = 1 << 20


class StreamEncoder:
    """Feed it a document's text piece by piece; `finish` ends the document and gives what is left."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._cut_anywhere = tokenizer.kind in {"char", "byte"}
        self._pending: list[str] = []

    def feed(self, text: str) -> np.ndarray:
        """Ids of all that can be encoded for certain so far, (T,)."""
        if self._cut_anywhere:
            return self._encode(text)
        cut = last_word_end(text)
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


def last_word_end(text: str) -> int:
    """The last position of `text` that certainly separates two words, 0 when there is none."""
    for position in range(len(text) - 1, 0, -1):
        if text[position] in _WORD_ENDS and text[position - 1].isalpha():
            return position
    return 0

"""What tokenizers whose ids stand for strings of bytes have in common: decoding, and counting bytes.

A text is the concatenation of its tokens' bytes, so it can be decoded token by token.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from nanogpt_cli.data.tokenizers.char import check_ids, outside_vocabulary


class PieceTokenizer(ABC):
    """A vocabulary of byte strings. Special tokens are ids beside them: no text encodes to one."""

    kind: str
    name: str
    vocab_size: int
    end_of_text: int | None
    special_tokens: Mapping[str, int]  # name → id

    @property
    @abstractmethod
    def _texts(self) -> Iterable[tuple[int, bytes]]:
        """The ids that stand for text, and their bytes; each once."""

    @functools.cached_property
    def _table(self) -> list[bytes | None]:
        """The bytes of every id, a special token's name for its id; None for ids that stand for nothing."""
        table: list[bytes | None] = [None] * self.vocab_size
        for i, piece in self._texts:
            table[i] = piece
        for name, i in self.special_tokens.items():
            table[i] = name.encode("utf-8")
        return table

    @property
    def dtype(self) -> np.dtype:
        """The narrowest type of the dataset's files that holds every id."""
        return np.dtype(np.uint16 if self.vocab_size <= 1 << 16 else np.uint32)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of `ids`; incomplete UTF-8, and ids outside the vocabulary, show as U+FFFD."""
        table = self._table
        pieces = [table[i] if 0 <= i < len(table) else None for i in np.asarray(ids, dtype=np.int64).tolist()]
        # 0xFF occurs nowhere in UTF-8, so it decodes to one U+FFFD and disturbs nothing around it.
        return b"".join(b"\xff" if piece is None else piece for piece in pieces).decode("utf-8", "replace")

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The exact bytes of `ids`; an id outside the vocabulary (a padding row's, say) is an error."""
        check_ids(ids, self.vocab_size)
        table = self._table
        pieces = [table[i] for i in np.asarray(ids, dtype=np.int64).tolist()]
        if None in pieces:  # an id in one of the gaps of the vocabulary
            raise outside_vocabulary(int(np.asarray(ids)[pieces.index(None)]), self.vocab_size)
        return b"".join(piece for piece in pieces if piece is not None)

    def token_bytes(self) -> np.ndarray:
        """UTF-8 bytes each id stands for in a text, (V,) int64; 0 for special tokens, which are no text."""
        lengths = np.array([len(piece or b"") for piece in self._table], dtype=np.int64)
        lengths[list(self.special_tokens.values())] = 0
        return lengths

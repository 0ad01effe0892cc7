"""One token per Unicode code point: nanoGPT's character-level vocabulary, encoded with numpy.

Text becomes code points by viewing its UTF-32 bytes, and code points become ids by one table look-up, so
no Python code runs per character.
"""

import unicodedata
from collections.abc import Sequence
from typing import Final

import numpy as np

from nanogpt_cli.errors import NanoGPTError

MAX_CODE_POINTS: Final = 0x110000  # one more than the last code point, U+10FFFF
_REPLACEMENT: Final = 0xFFFD  # what errors="replace" shows for bytes, and we for ids out of range
_NAMED_IN_ERROR: Final = 8


def code_points(text: str) -> np.ndarray:
    """The code points of `text`, (len(text),) uint32; lone surrogates stay what they are."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


class CharTokenizer:
    """Ids number the characters of the vocabulary in the order given (nanoGPT's: sorted)."""

    kind = "char"
    name = "char"
    end_of_text: int | None = None

    def __init__(self, characters: str) -> None:
        assert len(set(characters)) == len(characters) > 0, (
            "a vocabulary is distinct characters, at least one"
        )
        self.characters = characters
        self.vocab_size = len(characters)
        self._codes = code_points(characters)  # (V,)
        self._dtype = np.dtype(np.uint16 if self.vocab_size <= 1 << 16 else np.uint32)
        # One entry beyond the largest code point stands for every larger one, and stays unknown.
        self._ids = np.full(int(self._codes.max()) + 2, -1, dtype=np.int32)
        self._ids[self._codes] = np.arange(self.vocab_size, dtype=np.int32)

    def encode(self, text: str, *, what: str = "the prompt") -> np.ndarray:
        """Ids of `text`, (len(text),); a character outside the vocabulary is an error that names it.

        `what` is how the error calls the text.
        """
        ids = self._ids[np.minimum(code_points(text), len(self._ids) - 1)]
        if ids.size and ids.min() < 0:
            raise self._unknown(text, ids, what)
        encoded: np.ndarray = ids.astype(self._dtype)
        return encoded

    def safe_cut(self, text: str) -> int:
        """A text can be cut anywhere."""
        return len(text)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of `ids`; an id outside the vocabulary shows as U+FFFD."""
        array = np.asarray(ids, dtype=np.int64)
        valid = (array >= 0) & (array < self.vocab_size)
        codes = np.where(valid, self._codes[np.where(valid, array, 0)], _REPLACEMENT)
        return codes.astype("<u4").tobytes().decode("utf-32-le")

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The exact UTF-8 bytes of `ids`; an id outside the vocabulary is an error."""
        check_ids(ids, self.vocab_size)
        return self.decode(ids).encode("utf-8")

    def token_bytes(self) -> np.ndarray:
        """UTF-8 length of each id, (V,) int64."""
        # UTF-8 needs one byte more from each of these code points on (RFC 3629, section 3).
        return 1 + np.searchsorted([0x80, 0x800, 0x10000], self._codes, side="right").astype(np.int64)

    def to_document(self) -> dict[str, object]:
        """What a tokenizer file says of it."""
        return {"kind": self.kind, "name": self.name, "characters": self.characters}

    def _unknown(self, text: str, ids: np.ndarray, what: str) -> NanoGPTError:
        unknown = list(dict.fromkeys(text[i] for i in np.flatnonzero(ids < 0)[:10_000]))
        named = ", ".join(_name(character) for character in unknown[:_NAMED_IN_ERROR])
        more = f" and {len(unknown) - _NAMED_IN_ERROR} more" if len(unknown) > _NAMED_IN_ERROR else ""
        noun = "a character" if len(unknown) == 1 else f"{len(unknown)} characters"
        return NanoGPTError(
            f"{what} has {noun} the vocabulary does not: {named}{more}",
            "leave them out, or prepare the text with a tokenizer that knows every character: "
            "nanogpt prepare input.txt --tokenizer byte",
        )


def check_ids(ids: Sequence[int] | np.ndarray, vocab_size: int) -> None:
    """Raise for the first id that is not in 0 … vocab_size - 1."""
    array = np.asarray(ids, dtype=np.int64)
    wrong = array[(array < 0) | (array >= vocab_size)]
    if wrong.size:
        raise outside_vocabulary(int(wrong[0]), vocab_size)


def outside_vocabulary(token_id: int, vocab_size: int) -> NanoGPTError:
    """The error for an id that stands for nothing."""
    return NanoGPTError(
        f"token id {token_id} is outside the vocabulary of {vocab_size:,}",
        "the tokens come from another tokenizer: prepare the text again with nanogpt prepare",
    )


def _name(character: str) -> str:
    # repr escapes what has no glyph: controls, lone surrogates. A combining mark needs its name to be seen.
    mark = f" {unicodedata.name(character, '')}" if unicodedata.combining(character) else ""
    return f"{character!r} (U+{ord(character):04X}{mark})"

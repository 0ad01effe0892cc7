"""One token per Unicode code point: nanoGPT's character-level vocabulary, encoded with numpy.

Text becomes code points by viewing its bytes in the narrowest encoding that holds it, and code points become
ids by one table look-up, so no Python code runs per character. Text within Latin-1 goes two characters at a
time: their two bytes are an index into a table of pairs of ids.
"""

import functools
import unicodedata
from collections.abc import Sequence
from typing import Final

import numpy as np

from nanogpt_cli.errors import NanoGPTError

MAX_CODE_POINTS: Final = 0x110000  # one more than the last code point, U+10FFFF
_REPLACEMENT: Final = 0xFFFD  # what errors="replace" shows for bytes, and we for ids out of range
_NAMED_IN_ERROR: Final = 8
_PAIRS_FROM: Final = 1 << 12  # shorter texts are not worth the 65,536 entries of a table


def code_points(text: str) -> np.ndarray:
    """The code points of `text`, (len(text),) uint32; lone surrogates stay what they are."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def code_units(text: str) -> np.ndarray:
    """The code points of `text`, as uint16 where all of them fit, else as uint32."""
    units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype="<u2")
    return units if len(units) == len(text) else code_points(text)


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
        # Tables have the dtype of the ids, but where it has no value left that can mean "unknown".
        narrow = self.vocab_size < 1 << 16
        table_dtype = np.dtype(np.uint16 if narrow else np.uint32)
        self._unknown_id = 0xFFFF if narrow else 0xFFFFFFFF
        # One entry beyond the largest code point stands for every larger one, and stays unknown.
        self._ids = np.full(int(self._codes.max()) + 2, self._unknown_id, dtype=table_dtype)
        self._ids[self._codes] = np.arange(self.vocab_size, dtype=table_dtype)

    def encode(self, text: str, *, what: str = "the prompt") -> np.ndarray:
        """Ids of `text`, (len(text),); a character outside the vocabulary is an error that names it.

        `what` is how the error calls the text.
        """
        try:
            raw = text.encode("latin-1")
        except UnicodeEncodeError:
            ids = self._ids.take(code_units(text), mode="clip")
        else:
            ids = self._encode_latin1(raw)
        if ids.size and int(ids.max()) == self._unknown_id:
            raise self._unknown(text, ids == self._unknown_id, what)
        return ids.astype(self._dtype, copy=False)

    def _encode_latin1(self, raw: bytes) -> np.ndarray:
        if len(raw) < _PAIRS_FROM or self._ids.dtype != np.uint16:
            return self._ids.take(np.frombuffer(raw, dtype=np.uint8), mode="clip")
        ids = np.empty(len(raw) + len(raw) % 2, dtype="<u2")
        pairs = np.frombuffer(raw, dtype="<u2", count=len(raw) // 2)
        self._pairs.take(pairs, out=ids.view("<u4")[: len(pairs)], mode="clip")
        if len(raw) % 2:
            ids[len(raw) - 1] = self._ids[min(raw[-1], len(self._ids) - 1)]
        return ids[: len(raw)]

    @functools.cached_property
    def _pairs(self) -> np.ndarray:
        """The ids of two Latin-1 characters by their bytes as one little-endian number, (65536,) uint32."""
        ids = self._ids.take(np.arange(256), mode="clip").astype("<u4")
        pairs: np.ndarray = (ids[None, :] | ids[:, None] << 16).ravel()
        return pairs

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

    def _unknown(self, text: str, is_unknown: np.ndarray, what: str) -> NanoGPTError:
        unknown = list(dict.fromkeys(text[i] for i in np.flatnonzero(is_unknown)[:10_000]))
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

"""A tokenizer that Hugging Face's `tokenizers` runs: one whose tokenizer.json tiktoken cannot express.

Its document is {"kind": "hf", "name", "vocab_size", "end_of_text", "special_tokens", "blank", "definition",
"sha256"}. `definition` is the tokenizer.json in one line, without its added tokens, so that no text encodes
to one, and without what would change a text. `blank` is the character that stands for a space in a
vocabulary of characters with byte fallback (Llama 2, Gemma); it is empty for one of bytes.
"""

import functools
import hashlib
import json
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from nanogpt_cli.data.tokenizers.bpe import MAX_VOCAB_SIZE
from nanogpt_cli.data.tokenizers.bpe_training import byte_of_character
from nanogpt_cli.data.tokenizers.byte import utf8
from nanogpt_cli.data.tokenizers.pieces import PieceTokenizer
from nanogpt_cli.data.tokenizers.word_patterns import last_word_end

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

_BYTE_PIECE: Final = re.compile(r"<0x([0-9A-F]{2})>")
_SEEN_AHEAD: Final = 64  # characters a cut is tried with: no splitting rule in use looks further
_CUTS_TRIED: Final = 8


class HfTokenizer(PieceTokenizer):
    """Byte-pair encoding by the library `tokenizers`, with a vocabulary that can hold every text."""

    kind = "hf"
    name = "hf"

    def __init__(
        self,
        definition: str,
        *,
        vocab_size: int,
        special_tokens: Mapping[str, int],
        end_of_text: int | None,
        blank: str = "",
    ) -> None:
        self.vocab_size = vocab_size
        self.special_tokens = dict(special_tokens)
        self.end_of_text = end_of_text
        self.blank = blank
        self._definition = definition
        self._pieces = _pieces(definition, blank)
        self._lock = threading.Lock()
        self._built: Backend | None = None
        _check(self._pieces, self.special_tokens, end_of_text, vocab_size)

    def encode(self, text: str, *, what: str = "the prompt") -> np.ndarray:
        """Ids of `text`, (T,); lone surrogates count as U+FFFD, so `what` is never needed."""
        text = utf8(text).decode("utf-8")
        if not self.blank:
            return self._encode_part(text)
        # The vocabulary's sign for a space is spelt in bytes where the text itself has it: nothing is lost.
        sign = np.array([self._byte_ids[byte] for byte in self.blank.encode("utf-8")], dtype=self.dtype)
        first, *others = (self._encode_part(part) for part in text.split(self.blank))
        return np.concatenate([first, *(ids for part in others for ids in (sign, part))])

    def safe_cut(self, text: str) -> int:
        """A place near the end where the tokens on both sides were seen not to change; 0: none.

        The rule that splits words may be any; so a cut is tried on the text around it.
        """
        limit = len(text) - _SEEN_AHEAD
        for _ in range(_CUTS_TRIED):
            cut = last_word_end(text[: max(0, limit)])
            if cut == 0:
                return 0
            before, after = text[max(0, cut - _SEEN_AHEAD) : cut], text[cut : cut + _SEEN_AHEAD]
            apart = np.concatenate((self.encode(before), self.encode(after)))
            if np.array_equal(apart, self.encode(before + after)):
                return cut
            limit = cut
        return 0

    def to_document(self) -> dict[str, object]:
        """What a tokenizer file says of it."""
        return {
            "kind": self.kind,
            "name": self.name,
            "vocab_size": self.vocab_size,
            "end_of_text": self.end_of_text,
            "special_tokens": self.special_tokens,
            "blank": self.blank,
            "definition": self._definition,
            "sha256": hashlib.sha256(self._definition.encode("utf-8")).hexdigest(),
        }

    def _encode_part(self, text: str) -> np.ndarray:
        # A batch, as only its call lets other threads run meanwhile.
        (encoding,) = self._backend.encode_batch_fast([text], add_special_tokens=False)
        return np.array(encoding.ids, dtype=self.dtype)

    @property
    def _backend(self) -> "Backend":
        with self._lock:  # several threads encode at once, and one of them builds it
            if self._built is None:
                from tokenizers import Tokenizer as Backend

                self._built = Backend.from_str(self._definition)
            return self._built

    @functools.cached_property
    def _byte_ids(self) -> dict[int, int]:
        """The ids of the 256 single bytes of a vocabulary with byte fallback."""
        vocab = json.loads(self._definition)["model"]["vocab"]
        return {byte: vocab[f"<0x{byte:02X}>"] for byte in range(256)}

    @property
    def _texts(self) -> Iterable[tuple[int, bytes]]:
        return self._pieces.items()


def hf_from_document(document: Mapping[str, object]) -> HfTokenizer:
    """The inverse of `HfTokenizer.to_document`; raises ValueError saying what is wrong with it."""
    match document:
        case {
            "vocab_size": int() as vocab_size,
            "end_of_text": (int() | None) as end_of_text,
            "special_tokens": dict() as special_tokens,
            "blank": str() as blank,
            "definition": str() as definition,
            "sha256": str() as sha256,
        }:
            pass
        case _:
            raise ValueError("a part of the hf tokenizer is missing")
    if hashlib.sha256(definition.encode("utf-8", "replace")).hexdigest() != sha256:
        raise ValueError("its definition has changed (its checksum differs)")
    if not all(type(i) is int and 0 <= i < MAX_VOCAB_SIZE for i in special_tokens.values()):
        raise ValueError("its special tokens have impossible ids")
    try:
        return HfTokenizer(
            definition,
            vocab_size=vocab_size,
            special_tokens=special_tokens,
            end_of_text=end_of_text,
            blank=blank,
        )
    except (KeyError, TypeError, AttributeError) as error:  # JSON of another shape
        raise ValueError(f"its definition is no tokenizer ({type(error).__name__}: {error})") from None


def byte_pieces(vocab: Mapping[str, int]) -> dict[int, bytes]:
    """The bytes of each id of a byte-level vocabulary; entries that spell no bytes are left out."""
    values = byte_of_character()
    return {
        i: bytes(values[character] for character in token)
        for token, i in vocab.items()
        if token and all(character in values for character in token)
    }


def _pieces(definition: str, blank: str) -> dict[int, bytes]:
    vocab = json.loads(definition)["model"]["vocab"]
    if not blank:
        return byte_pieces(vocab)
    pieces = {}
    for token, i in vocab.items():
        byte = _BYTE_PIECE.fullmatch(token)
        pieces[i] = bytes.fromhex(byte[1]) if byte else token.replace(blank, " ").encode("utf-8")
    return pieces


def _check(
    pieces: Mapping[int, bytes], special_tokens: Mapping[str, int], end_of_text: int | None, size: int
) -> None:
    """Raise ValueError unless every text can be encoded and every id lies in the vocabulary."""
    if missing := 256 - len({piece for piece in pieces.values() if len(piece) == 1}):
        raise ValueError(f"{missing} of the 256 bytes have no id")
    ids: Sequence[int] = [*pieces, *special_tokens.values()]
    if not 0 <= min(ids) <= max(ids) < size <= MAX_VOCAB_SIZE:
        raise ValueError(f"it has ids outside its vocabulary of {size:,}")
    if end_of_text is not None and end_of_text not in special_tokens.values():
        raise ValueError(f"its end of text, id {end_of_text}, is no special token")

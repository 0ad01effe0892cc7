"""A byte-pair vocabulary that is saved whole: trained by `prepare`, or converted from a tokenizer.json.

Its document is {"kind": "bpe", "name", "pattern", "vocab_size", "end_of_text", "special_tokens": {name: id},
"tokens", "sha256"}. `tokens` has the bytes of id 0, 1, 2 … in Base64 with a space between; an id that is no
text (a special token's, or a gap) leaves its place empty. The order is the order of merging, as in tiktoken's
own files. `sha256` is that of `tokens`, so that a damaged file is noticed before it encodes anything.
"""

import base64
import binascii
import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from nanogpt_cli.data.tokenizers.pieces import PieceTokenizer
from nanogpt_cli.data.tokenizers.tiktoken_names import encode_ordinary
from nanogpt_cli.data.tokenizers.word_patterns import PATTERNS, last_word_end

if TYPE_CHECKING:
    from tiktoken import Encoding

GPT2_TOKENS_SHA256: Final = "445c95aed02d34f9cebfeeba666b08c9aebb5419c128c1c8e6995ac1a15f28b9"
MAX_VOCAB_SIZE: Final = 1 << 24  # beyond any vocabulary there is; a damaged size must not fill the memory


class BpeTokenizer(PieceTokenizer):
    """Byte-pair encoding with ranks of its own, run by tiktoken, which is built when first needed.

    `tokens` are the bytes of each id (None: the id is no text); a merge's rank is its result's id.
    """

    kind = "bpe"

    def __init__(
        self,
        tokens: Sequence[bytes | None],
        *,
        pattern: str,
        special_tokens: Mapping[str, int],
        end_of_text: int | None,
        name: str = "bpe",
    ) -> None:
        self.name = name
        self.pattern = pattern
        self.special_tokens = dict(special_tokens)
        self.end_of_text = end_of_text
        self.vocab_size = max([len(tokens), *(i + 1 for i in special_tokens.values())])
        self._tokens = list(tokens)
        self._lock = threading.Lock()
        self._built: Encoding | None = None
        _check(self._tokens, self.special_tokens, self.end_of_text, self.vocab_size)

    def encode(self, text: str, *, what: str = "the prompt") -> np.ndarray:
        """Ids of `text`, (T,); lone surrogates count as U+FFFD, so `what` is never needed."""
        return encode_ordinary(self._encoding, text, self.dtype)

    def safe_cut(self, text: str) -> int:
        """The last certain end of a word, 0 when there is none."""
        return last_word_end(text)

    def to_document(self) -> dict[str, object]:
        """What a tokenizer file says of it."""
        joined = " ".join(base64.b64encode(token or b"").decode("ascii") for token in self._tokens)
        return {
            "kind": self.kind,
            "name": self.name,
            "pattern": self.pattern,
            "vocab_size": self.vocab_size,
            "end_of_text": self.end_of_text,
            "special_tokens": self.special_tokens,
            "tokens": joined,
            "sha256": hashlib.sha256(joined.encode("ascii")).hexdigest(),
        }

    @property
    def _encoding(self) -> "Encoding":
        with self._lock:  # several threads encode at once, and one of them builds it
            if self._built is None:
                import tiktoken

                ranks = {token: i for i, token in self._texts}
                # Special tokens are not told to tiktoken: text that spells one is text.
                self._built = tiktoken.Encoding(
                    self.name, pat_str=PATTERNS[self.pattern].ours, mergeable_ranks=ranks, special_tokens={}
                )
            return self._built

    @property
    def _texts(self) -> Iterable[tuple[int, bytes]]:
        return ((i, token) for i, token in enumerate(self._tokens) if token is not None)


def bpe_from_document(document: Mapping[str, object]) -> BpeTokenizer:
    """The inverse of `BpeTokenizer.to_document`; raises ValueError saying what is wrong with it."""
    match document:
        case {
            "name": str() as name,
            "pattern": str() as pattern,
            "vocab_size": int() as vocab_size,
            "end_of_text": (int() | None) as end_of_text,
            "special_tokens": dict() as special_tokens,
            "tokens": str() as joined,
            "sha256": str() as sha256,
        }:
            pass
        case _:
            raise ValueError("a part of the bpe vocabulary is missing")
    if pattern not in PATTERNS:
        raise ValueError(f"its pattern {pattern!r} is none of {', '.join(PATTERNS)}")
    if hashlib.sha256(joined.encode("utf-8", "replace")).hexdigest() != sha256:
        raise ValueError("its tokens have changed (their checksum differs)")
    if name == "gpt2" and sha256 != GPT2_TOKENS_SHA256:
        raise ValueError("it is called gpt2, and its tokens are others")
    if not all(type(i) is int and 0 <= i < MAX_VOCAB_SIZE for i in special_tokens.values()):
        raise ValueError("its special tokens have impossible ids")
    try:
        tokens = [base64.b64decode(token, validate=True) or None for token in joined.split(" ")]
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"its tokens are not Base64 ({error})") from None
    tokenizer = BpeTokenizer(
        tokens, pattern=pattern, special_tokens=special_tokens, end_of_text=end_of_text, name=name
    )
    if tokenizer.vocab_size != vocab_size:
        raise ValueError(f"it says {vocab_size:,} ids and has {tokenizer.vocab_size:,}")
    return tokenizer


def _check(
    tokens: Sequence[bytes | None], special_tokens: Mapping[str, int], end_of_text: int | None, size: int
) -> None:
    """Raise ValueError unless every text can be encoded, and every id stands for one thing."""
    texts = [token for token in tokens if token is not None]
    distinct = set(texts)
    if len(distinct) != len(texts):
        raise ValueError("two of its ids stand for the same bytes")
    if missing := sum(bytes([i]) not in distinct for i in range(256)):
        raise ValueError(f"{missing} of the 256 bytes have no id")
    taken = [i for i in special_tokens.values() if i < len(tokens) and tokens[i] is not None]
    if taken or len(set(special_tokens.values())) != len(special_tokens):
        raise ValueError("two of its tokens have the same id")
    if end_of_text is not None and (type(end_of_text) is not int or not 0 <= end_of_text < size):
        raise ValueError(f"its end of text is id {end_of_text}, outside the vocabulary of {size:,}")
    if end_of_text is not None and end_of_text not in special_tokens.values():
        raise ValueError(f"its end of text, id {end_of_text}, is no special token")

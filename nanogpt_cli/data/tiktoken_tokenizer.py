"""The byte-pair vocabularies that tiktoken knows: gpt2, and every other name it lists.

The vocabulary file is fetched by tiktoken once and cached. It is loaded only when text is encoded or decoded:
training on an already prepared dataset needs neither the file nor a network.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from nanogpt_cli.data.byte_tokenizer import utf8
from nanogpt_cli.data.char_tokenizer import check_ids, outside_vocabulary
from nanogpt_cli.errors import NanoGPTError, UsageError

if TYPE_CHECKING:
    from tiktoken import Encoding

GPT2_VOCAB_SIZE: Final = 50257  # 256 bytes + 50,000 merges + <|endoftext|>
GPT2_END_OF_TEXT: Final = 50256
# Between a letter and one of these, every tiktoken pattern ends a word, and no word before it depends on what
# follows: letters are matched greedily, and only an apostrophe can continue them. (The patterns:
# https://github.com/openai/tiktoken/blob/main/tiktoken_ext/openai_public.py)
_WORD_ENDS: Final = frozenset(" \t\r\n\u3000,.;:!?，。、；：！？…—()（）「」『』《》“”")


class TiktokenTokenizer:
    """A tiktoken encoding by name; text that looks like a special token is ordinary text.

    Sizes given to the constructor (from a tokenizer file) are believed until the vocabulary is loaded.
    """

    kind = "tiktoken"

    def __init__(self, name: str, *, vocab_size: int | None = None, end_of_text: int | None = None) -> None:
        self.name = name
        if name == "gpt2":
            vocab_size, end_of_text = GPT2_VOCAB_SIZE, GPT2_END_OF_TEXT
        if vocab_size is None:
            encoding = load_encoding(name)
            vocab_size, end_of_text = encoding.n_vocab, encoding._special_tokens.get("<|endoftext|>")
        self.vocab_size = vocab_size
        self.end_of_text = end_of_text
        self._dtype = np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)

    def encode(self, text: str, *, what: str = "the prompt") -> np.ndarray:
        """Ids of `text`, (T,); lone surrogates count as U+FFFD, so `what` is never needed."""
        ids = self._encoding.encode_to_numpy(utf8(text).decode("utf-8"), disallowed_special=())
        return ids.astype(self._dtype)

    def safe_cut(self, text: str) -> int:
        """The last certain end of a word, 0 when there is none."""
        return last_word_end(text)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of `ids`; incomplete UTF-8, and ids outside the vocabulary, show as U+FFFD."""
        table = self._table
        pieces = [table[i] if 0 <= i < len(table) else None for i in np.asarray(ids, dtype=np.int64).tolist()]
        # 0xFF occurs nowhere in UTF-8, so it decodes to one U+FFFD and disturbs nothing around it.
        return b"".join(b"\xff" if piece is None else piece for piece in pieces).decode("utf-8", "replace")

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The exact bytes of `ids`; an id outside the vocabulary (a padding row's, say) is an error."""
        check_ids(ids, self.vocab_size)
        pieces = [self._table[i] for i in np.asarray(ids, dtype=np.int64).tolist()]
        if None in pieces:  # an id in one of the gaps of the vocabulary
            raise outside_vocabulary(int(np.asarray(ids)[pieces.index(None)]), self.vocab_size)
        return b"".join(piece for piece in pieces if piece is not None)

    def token_bytes(self) -> np.ndarray:
        """UTF-8 bytes each id stands for in a text, (V,) int64; 0 for special tokens, which are no text."""
        lengths = np.array([len(piece or b"") for piece in self._table], dtype=np.int64)
        lengths[list(self._encoding._special_tokens.values())] = 0
        return lengths

    def to_document(self) -> dict[str, object]:
        """What a tokenizer file says of it."""
        return {
            "kind": self.kind,
            "name": self.name,
            "vocab_size": self.vocab_size,
            "end_of_text": self.end_of_text,
        }

    @functools.cached_property
    def _encoding(self) -> "Encoding":
        encoding = load_encoding(self.name)
        if encoding.n_vocab != self.vocab_size:
            raise NanoGPTError(
                f"tiktoken's {self.name} has {encoding.n_vocab:,} ids, the saved one {self.vocab_size:,}",
                "install the tiktoken it was made with: pip install --upgrade tiktoken",
            )
        return encoding

    @functools.cached_property
    def _table(self) -> list[bytes | None]:
        """The bytes of every id; None in the gaps some vocabularies have before their special tokens."""
        table: list[bytes | None] = [None] * self.vocab_size
        for i in range(self.vocab_size):
            try:
                table[i] = self._encoding.decode_single_token_bytes(i)
            except KeyError:
                continue
        return table


def last_word_end(text: str) -> int:
    """The last position of `text` that certainly separates two words, 0 when there is none."""
    for position in range(len(text) - 1, 0, -1):
        if text[position] in _WORD_ENDS and text[position - 1].isalpha():
            return position
    return 0


def load_encoding(name: str) -> "Encoding":
    """tiktoken's encoding `name` (tiktoken keeps it for the process); unknown or unreachable is an error."""
    import tiktoken

    if name not in tiktoken.list_encoding_names():
        raise unknown_tokenizer(name)
    try:
        return tiktoken.get_encoding(name)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong checksum is a ValueError
        # requests' own texts are long and name its internals; their class says enough ("ProxyError").
        reason = str(error).splitlines()[0] if isinstance(error, ValueError) else type(error).__name__
        raise NanoGPTError(
            f"the {name} vocabulary is not on this computer and could not be downloaded ({reason})",
            "connect to the network once, or copy a filled tiktoken cache here and set TIKTOKEN_CACHE_DIR to "
            "it; without either: nanogpt prepare input.txt --tokenizer char",
        ) from None


def unknown_tokenizer(name: str) -> UsageError:
    """The error for a tokenizer nobody knows, with those that exist."""
    import tiktoken

    known = ", ".join(["char", "byte", *sorted(tiktoken.list_encoding_names())])
    return UsageError(f"there is no tokenizer {name!r}", f"--tokenizer char, or another of: {known}")

"""The byte-pair vocabularies that tiktoken knows: gpt2, and every other name it lists.

The vocabulary file is fetched by tiktoken once and cached. It is loaded only when text is encoded or decoded:
training on an already prepared dataset needs neither the file nor a network.
"""

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from nanogpt_cli.data.tokenizers.byte import utf8
from nanogpt_cli.data.tokenizers.pieces import PieceTokenizer
from nanogpt_cli.data.tokenizers.thread_encodings import own_encoding
from nanogpt_cli.data.tokenizers.word_patterns import cut_long_blanks, last_word_end
from nanogpt_cli.errors import NanoGPTError, UsageError

if TYPE_CHECKING:
    from tiktoken import Encoding

GPT2_VOCAB_SIZE: Final = 50257  # 256 bytes + 50,000 merges + <|endoftext|>
GPT2_END_OF_TEXT: Final = 50256
END_OF_TEXT: Final = "<|endoftext|>"


class TiktokenTokenizer(PieceTokenizer):
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
            vocab_size, end_of_text = encoding.n_vocab, encoding._special_tokens.get(END_OF_TEXT)
        self.vocab_size = vocab_size
        self.end_of_text = end_of_text

    def encode(self, text: str, *, what: str = "the prompt") -> np.ndarray:
        """Ids of `text`, (T,); lone surrogates count as U+FFFD, so `what` is never needed."""
        return encode_ordinary(self._encoding, text, self.dtype)

    def safe_cut(self, text: str) -> int:
        """The last certain end of a word, 0 when there is none."""
        return last_word_end(text)

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
    def special_tokens(self) -> Mapping[str, int]:  # type: ignore[override]  # known once it is loaded
        """Name and id of each special token."""
        return self._encoding._special_tokens

    @property
    def _texts(self) -> Iterable[tuple[int, bytes]]:
        return ((i, piece) for piece, i in self._encoding._mergeable_ranks.items())


def encode_ordinary(encoding: "Encoding", text: str, dtype: np.dtype) -> np.ndarray:
    """Ids of `text`, (T,), with no special token among them; other threads run meanwhile."""
    encoding = own_encoding(encoding, len(text))
    parts = [
        encoding.encode_to_numpy(part, disallowed_special=())
        for part in cut_long_blanks(utf8(text).decode("utf-8"))
    ]
    return (parts[0] if len(parts) == 1 else np.concatenate(parts)).astype(dtype)


def tiktoken_names() -> list[str]:
    """Every name tiktoken knows, sorted."""
    import tiktoken

    return sorted(tiktoken.list_encoding_names())


def load_encoding(name: str) -> "Encoding":
    """tiktoken's encoding `name` (tiktoken keeps it for the process); unknown or unreachable is an error."""
    import tiktoken

    if name not in tiktoken_names():
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
    known = ", ".join(["char", "byte", "bpe", *tiktoken_names()])
    return UsageError(f"there is no tokenizer {name!r}", f"--tokenizer char, or another of: {known}")

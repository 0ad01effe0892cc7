"""`meta.pkl`, the vocabulary file of nanoGPT's data folders: written for nanoGPT, and read without trust.

A pickle can run any code when loaded. The unpickler here can look up no class and no function, so it builds
nothing but dict, str, int and the other plain literals; whatever else is in the file is an error.
https://docs.python.org/3/library/pickle.html#restricting-globals
"""

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from nanogpt_cli.data.tokenizers import ByteTokenizer, CharTokenizer, Tokenizer
from nanogpt_cli.errors import NanoGPTError

META_PKL: Final = "meta.pkl"
_PROTOCOL: Final = 4  # fixed, so that the same text gives the same file; every Python from 3.4 on reads it
_MAX_BYTES: Final = 64 << 20  # every code point there is takes 30 MB


@dataclass(frozen=True, kw_only=True)
class NanoGPTMeta:
    """What a meta.pkl says. `tokenizer` is None where its vocabulary is not one of single characters."""

    vocab_size: int
    tokenizer: Tokenizer | None


def meta_pkl(tokenizer: Tokenizer) -> bytes | None:
    """The meta.pkl that lets nanoGPT's train.py and sample.py run on the dataset; None for BPE.

    Without a meta.pkl nanoGPT assumes GPT-2's vocabulary. For bytes, nanoGPT's sample.py, which joins ids as
    characters, shows each byte as the Latin-1 character of the same number: right for ASCII texts.
    """
    if isinstance(tokenizer, CharTokenizer):
        characters = tokenizer.characters
    elif isinstance(tokenizer, ByteTokenizer):
        characters = bytes(range(256)).decode("latin-1")
    else:
        return None
    meta: dict[str, object] = {
        "vocab_size": len(characters),
        "itos": dict(enumerate(characters)),
        "stoi": {character: i for i, character in enumerate(characters)},
    }
    if tokenizer.kind == "byte":
        meta["tokenizer"] = "byte"  # nanoGPT ignores it; it tells us that these are no characters
    return pickle.dumps(meta, protocol=_PROTOCOL)


def read_meta_pkl(path: Path) -> NanoGPTMeta:
    """Read a meta.pkl; nothing in it is executed. Raises NanoGPTError for anything but a vocabulary."""
    if path.stat().st_size > _MAX_BYTES:
        raise _refusal(path, f"it is larger than {_MAX_BYTES >> 20} MB")
    try:
        meta: object = _PlainUnpickler(io.BytesIO(path.read_bytes())).load()
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise _refusal(path, f"it is damaged ({type(error).__name__})") from None
    if not isinstance(meta, dict):
        raise _refusal(path, "it holds no dict")
    vocab_size = meta.get("vocab_size")
    if not isinstance(vocab_size, int) or isinstance(vocab_size, bool) or not 0 < vocab_size <= 1 << 32:
        raise _refusal(path, "it has no vocab_size")
    return NanoGPTMeta(vocab_size=vocab_size, tokenizer=_tokenizer(meta, vocab_size))


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(
            f"it wants to load {module}.{name}, and only dict, str and int are allowed"
        )


def _tokenizer(meta: Mapping[object, object], vocab_size: int) -> Tokenizer | None:
    if meta.get("tokenizer") == "byte" and vocab_size == ByteTokenizer.vocab_size:
        return ByteTokenizer()
    itos = meta.get("itos")
    if not isinstance(itos, dict) or list(itos) != list(range(vocab_size)):
        return None
    texts = list(itos.values())
    if any(not isinstance(text, str) or len(text) != 1 or "\ud800" <= text <= "\udfff" for text in texts):
        return None  # a vocabulary of words, say: it trains here, only its text cannot be shown
    return CharTokenizer("".join(texts)) if len(set(texts)) == vocab_size else None


def _refusal(path: Path, reason: str) -> NanoGPTError:
    return NanoGPTError(
        f"{path} is not a nanoGPT vocabulary: {reason}",
        f"prepare the text again: nanogpt prepare input.txt --name {path.parent.name} --overwrite",
    )

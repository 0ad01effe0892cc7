"""`meta.pkl`, the vocabulary file of nanoGPT's data folders: written for nanoGPT, and read without trust.

A pickle can run any code when loaded by Python's own reader; ours (plain_pickle) builds nothing but dict,
str, int and the other plain values, and whatever else is in the file is an error.
https://docs.python.org/3/library/pickle.html#restricting-globals
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nanogpt_cli.data.plain_pickle import NotPlainError, read_plain_pickle
from nanogpt_cli.data.tokenizers.base import ByteTokenizer, CharTokenizer, Tokenizer
from nanogpt_cli.errors import NanoGPTError

META_PKL: Final = "meta.pkl"
_PROTOCOL: Final = 4  # fixed, so that the same text gives the same file; every Python from 3.4 on reads it
_MAX_BYTES: Final = 64 << 20  # every code point there is takes 30 MB
_MAX_IDS: Final = 1 << 16  # nanoGPT reads and writes uint16 alone
_GPT2: Final = frozenset({"gpt2", "r50k_base"})  # tiktoken's two names for the vocabulary nanoGPT assumes


@dataclass(frozen=True, kw_only=True)
class NanoGPTMeta:
    """What a meta.pkl says. `tokenizer` is None where its vocabulary is not one of single characters."""

    vocab_size: int
    tokenizer: Tokenizer | None


def meta_pkl(tokenizer: Tokenizer) -> bytes | None:
    """The meta.pkl that lets nanoGPT's train.py and sample.py run on the dataset.

    None for GPT-2's vocabulary, which nanoGPT assumes without one, and for ids that do not fit nanoGPT's
    uint16. nanoGPT's sample.py takes the prompt apart by characters and joins the texts of the ids. So a BPE
    vocabulary gives it the text of every id, and the ids of the characters that have one. For bytes it shows
    each as the Latin-1 character of the same number: right for ASCII texts.
    """
    if tokenizer.vocab_size > _MAX_IDS or tokenizer.name in _GPT2:
        return None
    if isinstance(tokenizer, CharTokenizer):
        texts = list(tokenizer.characters)
    elif isinstance(tokenizer, ByteTokenizer):
        texts = list(bytes(range(256)).decode("latin-1"))
    else:
        texts = [tokenizer.decode([i]) for i in range(tokenizer.vocab_size)]
    stoi: dict[str, int] = {}
    for i, text in enumerate(texts):
        if len(text) == 1 and (text != "\ufffd" or tokenizer.kind == "char"):  # else a part of a character
            stoi.setdefault(text, i)
    meta: dict[str, object] = {"vocab_size": len(texts), "itos": dict(enumerate(texts)), "stoi": stoi}
    if tokenizer.kind != "char":
        meta["tokenizer"] = tokenizer.kind  # nanoGPT ignores it; it tells us that these are no characters
    return pickle.dumps(meta, protocol=_PROTOCOL)


def read_meta_pkl(path: Path) -> NanoGPTMeta:
    """Read a meta.pkl; nothing in it is executed. Raises NanoGPTError for anything but a vocabulary."""
    if path.stat().st_size > _MAX_BYTES:
        raise _refusal(path, f"it is larger than {_MAX_BYTES >> 20} MB")
    try:
        meta = read_plain_pickle(path.read_bytes())
    except NotPlainError as error:
        raise _refusal(path, str(error)) from None
    if not isinstance(meta, dict):
        raise _refusal(path, "it holds no dict")
    vocab_size = meta.get("vocab_size")
    if not isinstance(vocab_size, int) or isinstance(vocab_size, bool) or vocab_size < 1:
        raise _refusal(path, "it has no vocab_size")
    if vocab_size > _MAX_IDS:
        raise NanoGPTError(
            f"{path} says more than {_MAX_IDS:,} ids, and nanoGPT's files hold 2-byte ids: the others were "
            "written as wrong ones",
            _again(path),
        )
    return NanoGPTMeta(vocab_size=vocab_size, tokenizer=_tokenizer(meta, vocab_size))


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
    return NanoGPTError(f"{path} is not a nanoGPT vocabulary: {reason}", _again(path))


def _again(path: Path) -> str:
    return f"prepare the text again: nanogpt prepare input.txt --name {path.parent.name} --overwrite"

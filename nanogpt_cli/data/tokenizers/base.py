"""Tokenizers: text to ids and back, and the JSON file that keeps one beside the data and in every run.

The file is `nanogpt_tokenizer.json`: {"format", "format_version", "kind", …}. It is not Hugging Face's
`tokenizer.json`, and is named so that nobody takes it for one. `tokenizer_hash` identifies a tokenizer: a
checkpoint and a dataset belong together when their hashes are equal.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from nanogpt_cli import files
from nanogpt_cli.data.format_version import check_format_version
from nanogpt_cli.data.tokenizers.bpe import BpeTokenizer, bpe_from_document
from nanogpt_cli.data.tokenizers.byte import ByteTokenizer
from nanogpt_cli.data.tokenizers.char import CharTokenizer
from nanogpt_cli.data.tokenizers.hf import HfTokenizer, hf_from_document
from nanogpt_cli.data.tokenizers.tiktoken_names import (
    TiktokenTokenizer,
    load_encoding,
    tiktoken_names,
    unknown_tokenizer,
)
from nanogpt_cli.errors import NanoGPTError

__all__ = [
    "TOKENIZER_FILE",
    "BpeTokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "HfTokenizer",
    "TiktokenTokenizer",
    "Tokenizer",
    "build_tokenizer",
    "check_tokenizer_name",
    "is_known_name",
    "load_tokenizer",
    "read_tokenizer",
    "save_tokenizer",
    "tokenizer_from_document",
    "tokenizer_hash",
    "unknown_tokenizer",
]

TOKENIZER_FILE: Final = "nanogpt_tokenizer.json"
_FORMAT: Final = "nanogpt-tokenizer"
_FORMAT_VERSION: Final = 1
_AGAIN: Final = "prepare the dataset again: nanogpt prepare input.txt --tokenizer char --overwrite"


class Tokenizer(Protocol):
    """What every tokenizer can do. `end_of_text` is the id that ends a document, where there is one."""

    @property
    def kind(self) -> str:
        """`char`, `byte`, `tiktoken`, `bpe` (ranks of its own) or `hf` (run by the library tokenizers)."""

    @property
    def name(self) -> str:
        """What people call it: `char`, `byte`, `gpt2`, `bpe`; `hf` for one from a tokenizer.json."""

    @property
    def vocab_size(self) -> int:
        """Ids are 0 … vocab_size - 1."""

    @property
    def end_of_text(self) -> int | None:
        """The id after each document of a collection."""

    def encode(self, text: str, *, what: str = "the prompt") -> np.ndarray:
        """Ids, (T,) uint16 or uint32; `what` is how an error calls the text."""

    def safe_cut(self, text: str) -> int:
        """The last place where `text` can be cut without changing a token, whatever follows; 0: none."""

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Text; whatever cannot be decoded shows as U+FFFD."""

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """Exact UTF-8 bytes, perhaps ending inside a character; ids outside the vocabulary raise."""

    def token_bytes(self) -> np.ndarray:
        """UTF-8 bytes of text each id stands for, (V,) int64: the denominator of bits per byte."""

    def to_document(self) -> dict[str, object]:
        """All that is needed to build it again."""


def is_known_name(name: str) -> bool:
    """Whether `name` is a ready-made tokenizer: these come before files and folders of the same name."""
    return name in {"char", "byte"} or name in tiktoken_names()


def check_tokenizer_name(name: str) -> None:
    """Raise when `name` is no tokenizer, or its vocabulary cannot be had; cheap next to reading a text."""
    if name not in {"char", "byte"}:
        load_encoding(name)


def build_tokenizer(name: str, characters: str = "") -> Tokenizer:
    """The tokenizer `--tokenizer name` asks for; `characters` are all that occur, for the char vocabulary."""
    if name == "char":
        return CharTokenizer("".join(sorted(set(characters))))
    return ByteTokenizer() if name == "byte" else TiktokenTokenizer(name)


def tokenizer_hash(tokenizer: Tokenizer) -> str:
    """Hex SHA-256 of the tokenizer's document in canonical JSON.

    GPT-2's vocabulary, by whatever way it came here, is tiktoken's gpt2: the same ids, the same hash.
    """
    if isinstance(tokenizer, BpeTokenizer) and tokenizer.name == "gpt2":
        tokenizer = TiktokenTokenizer("gpt2")
    canonical = json.dumps(tokenizer.to_document(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> Path:
    """Write the tokenizer's file into `folder`, and return its path."""
    path = folder / TOKENIZER_FILE
    document = {"format": _FORMAT, "format_version": _FORMAT_VERSION, **tokenizer.to_document()}
    files.write_json(path, document)
    return path


def load_tokenizer(folder: Path, hint: str = _AGAIN) -> Tokenizer:
    """The tokenizer saved in `folder`; raises NanoGPTError when the file is missing or damaged."""
    return read_tokenizer(folder / TOKENIZER_FILE, hint)


def read_tokenizer(path: Path, hint: str = _AGAIN) -> Tokenizer:
    """The tokenizer in a file of ours; raises NanoGPTError with `hint` when it is missing or damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NanoGPTError(f"there is no {path.name} in {path.parent}", hint) from None
    except (ValueError, RecursionError):  # both not JSON and not UTF-8 are ValueErrors
        raise NanoGPTError(f"{path} is damaged: not JSON", hint) from None
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise NanoGPTError(f"{path} is not a nanogpt tokenizer", hint)
    check_format_version(path, document, _FORMAT_VERSION)
    try:
        return tokenizer_from_document(document)
    except ValueError as error:
        raise NanoGPTError(f"{path} is damaged: {error}", hint) from None


def tokenizer_from_document(document: dict[str, object]) -> Tokenizer:
    """The inverse of `Tokenizer.to_document`; raises ValueError saying what is wrong with it."""
    match document:
        case {"kind": "char", "characters": str() as characters}:
            if not characters or len(set(characters)) != len(characters):
                raise ValueError("its characters are not distinct")
            if any("\ud800" <= character <= "\udfff" for character in characters):
                raise ValueError("half a surrogate pair is not a character")
            return CharTokenizer(characters)
        case {"kind": "byte"}:
            return ByteTokenizer()
        case {"kind": "tiktoken", "name": str() as name, "vocab_size": int() as size, "end_of_text": end}:
            if size < 1 or not (end is None or isinstance(end, int)):
                raise ValueError("its sizes make no sense")
            return TiktokenTokenizer(name, vocab_size=size, end_of_text=end)
        case {"kind": "bpe"}:
            return bpe_from_document(document)
        case {"kind": "hf"}:
            return hf_from_document(document)
    raise ValueError(f"unknown kind {document.get('kind')!r}")

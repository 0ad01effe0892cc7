"""`meta.json`, what a prepared dataset says of itself. It is written last: where it is, the rest is whole.

{"format": "nanogpt-dataset", "format_version": 1,
 "tokenizer": {"kind", "name", "file", "sha256"}, "vocab_size", "dtype": "uint16" | "uint32",
 "splits": {"train" and "val": {"file", "tokens", "bytes", "documents", "sha256"}},
 "source": {"kind", "label", "sha256", "bytes", "characters", "documents"}, "val_fraction"}

`bytes` are those of the UTF-8 text, without a byte order mark; the source's `sha256` is of the same bytes.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from nanogpt_cli.data.binfile import dtype_for
from nanogpt_cli.data.tokenizers import TOKENIZER_FILE
from nanogpt_cli.errors import NanoGPTError

META_JSON: Final = "meta.json"
_FORMAT: Final = "nanogpt-dataset"
_FORMAT_VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class SplitMeta:
    """One split: a document cut by the split counts in both."""

    file: str
    tokens: int
    bytes: int
    documents: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SourceMeta:
    """The text the dataset was made of."""

    kind: str
    label: str
    sha256: str
    bytes: int
    characters: int
    documents: int


_Record = TypeVar("_Record", SplitMeta, SourceMeta)


@dataclass(frozen=True, kw_only=True)
class DatasetMeta:
    """The content of meta.json."""

    tokenizer_kind: str
    tokenizer_name: str
    tokenizer_sha256: str
    vocab_size: int
    splits: Mapping[str, SplitMeta]
    source: SourceMeta
    val_fraction: float

    def to_document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "format": _FORMAT,
            "format_version": _FORMAT_VERSION,
            "tokenizer": {
                "kind": self.tokenizer_kind,
                "name": self.tokenizer_name,
                "file": TOKENIZER_FILE,
                "sha256": self.tokenizer_sha256,
            },
            "vocab_size": self.vocab_size,
            "dtype": dtype_for(self.vocab_size).name,
            "splits": {name: asdict(split) for name, split in self.splits.items()},
            "source": asdict(self.source),
            "val_fraction": self.val_fraction,
        }

    def prepare_command(self, folder: Path) -> str:
        """The command that makes this dataset anew in `folder`."""
        return prepare_command_line(self.source.label, self.tokenizer_name, folder, self.val_fraction)


def prepare_command_line(source: str, tokenizer: str, folder: Path, val_fraction: float) -> str:
    """A `nanogpt prepare` that replaces the dataset in `folder`, quoted for a shell."""
    words = ["nanogpt", "prepare", source, "--tokenizer", tokenizer, "--name", folder.name]
    if folder.parent != Path("data"):
        words += ["--data-dir", str(folder.parent)]
    if val_fraction != 0.1:
        words += ["--val-fraction", str(val_fraction)]
    return shlex.join([*words, "--overwrite"])


def read_meta(folder: Path) -> DatasetMeta | None:
    """The folder's meta.json; None where there is none of ours. Raises NanoGPTError when it is damaged."""
    path = folder / META_JSON
    hint = f"prepare it again: nanogpt prepare input.txt --name {folder.name} --overwrite"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        raise NanoGPTError(f"{path} is damaged: not JSON", hint) from None
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        return None  # somebody else's meta.json beside nanoGPT's files
    if document.get("format_version") != _FORMAT_VERSION:
        version = document.get("format_version")
        raise NanoGPTError(
            f"{path} has format version {version}, this nanogpt reads {_FORMAT_VERSION}",
            "pip install --upgrade nanogpt-cli",
        )
    try:
        return _parse(document)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise NanoGPTError(f"{path} is damaged: {type(error).__name__} {error}", hint) from None


def _parse(document: Mapping[str, Any]) -> DatasetMeta:
    vocab_size = int(document["vocab_size"])
    if not 0 < vocab_size <= 1 << 32:
        raise ValueError(f"vocab_size {vocab_size}")
    return DatasetMeta(
        tokenizer_kind=str(document["tokenizer"]["kind"]),
        tokenizer_name=str(document["tokenizer"]["name"]),
        tokenizer_sha256=str(document["tokenizer"]["sha256"]),
        vocab_size=vocab_size,
        splits={name: _record(SplitMeta, document["splits"][name]) for name in ("train", "val")},
        source=_record(SourceMeta, document["source"]),
        val_fraction=float(document["val_fraction"]),
    )


def _record(kind: type[_Record], raw: Mapping[str, Any]) -> _Record:
    """`kind` with every field of its declared type; counts are whole and not negative."""
    record = kind(**raw)
    for field in fields(kind):
        value = getattr(record, field.name)
        if type(value) is not field.type or (isinstance(value, int) and value < 0):
            raise ValueError(f"{field.name} {value!r}")
    return record

"""`meta.json`, what a prepared dataset says of itself. It is written last: where it is, the rest is whole.

{"format": "nanogpt-dataset", "format_version": 1,
 "tokenizer": {"kind", "name", "file", "sha256"}, "vocab_size", "dtype": "uint16" | "uint32",
 "splits": {"train" and "val": {"file", "tokens", "bytes", "documents", "sha256"}},
 "source": {"kind", "label", "sha256", "bytes", "characters", "documents"}, "val_fraction",
 "val_source": as "source", or null, "split_rule": "position" | "documents" | "val_file",
 "ids_used": distinct ids that occur, "prepare": the options, as `Request` keeps them}

`bytes` are those of the UTF-8 text, without a byte order mark; the source's `sha256` is of the same bytes.
The last four are not in the files of the first releases; their readers ignore them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast, get_args

from nanogpt_cli.data.binfile import dtype_for
from nanogpt_cli.data.format_version import check_format_version
from nanogpt_cli.data.preparing.request import Request, request_from_document
from nanogpt_cli.data.tokenizers.base import TOKENIZER_FILE
from nanogpt_cli.errors import NanoGPTError

META_JSON: Final = "meta.json"
_FORMAT: Final = "nanogpt-dataset"
_FORMAT_VERSION: Final = 1
# By position in one text, by document in a collection, or a text of its own.
SplitRule = Literal["position", "documents", "val_file"]


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
_Value = TypeVar("_Value")


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
    val_source: SourceMeta | None = None
    split_rule: SplitRule = "position"
    ids_used: int | None = None
    request: Request | None = None

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
            "val_source": asdict(self.val_source) if self.val_source else None,
            "split_rule": self.split_rule,
            "ids_used": self.ids_used,
            "prepare": self.request.to_document() if self.request else None,
        }

    def prepare_command(self, folder: Path) -> str:
        """The command that makes this dataset anew in `folder`."""
        request = self.request or Request(
            sources=(self.source.label,), tokenizer=self.tokenizer_name, val_fraction=self.val_fraction
        )
        return request.command(folder, "--overwrite")


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
    check_format_version(path, document, _FORMAT_VERSION)
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
        val_source=_optional(document.get("val_source"), lambda raw: _record(SourceMeta, raw)),
        split_rule=_split_rule(document.get("split_rule", "position")),
        ids_used=_optional(document.get("ids_used"), int),
        request=_optional(document.get("prepare"), request_from_document),
    )


def _optional(raw: Any, parse: Callable[[Any], _Value]) -> _Value | None:
    return None if raw is None else parse(raw)


def _split_rule(raw: object) -> SplitRule:
    for rule in get_args(SplitRule):
        if raw == rule:
            return cast("SplitRule", rule)
    raise ValueError(f"split_rule {raw!r}")


def _record(kind: type[_Record], raw: Mapping[str, Any]) -> _Record:
    """`kind` with every field of its declared type; counts are whole and not negative."""
    record = kind(**raw)
    for field in fields(kind):
        value = getattr(record, field.name)
        if type(value) is not field.type or (isinstance(value, int) and value < 0):
            raise ValueError(f"{field.name} {value!r}")
    return record

"""What `prepare` made: the numbers, advice on the choice of tokenizer, and the JSON document."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from nanogpt_cli.data.tokenizers.advice import advise

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class PreparedSplit:
    """What one split holds; `bytes` are UTF-8."""

    tokens: int
    bytes: int
    documents: int


@dataclass(frozen=True, kw_only=True)
class PreparedDataset:
    """What `prepare` made, or found made already (`unchanged`)."""

    path: Path
    name: str
    tokenizer: str
    tokenizer_kind: str
    vocab_size: int
    ids_used: int | None  # distinct ids that occur; None for datasets made before this was counted
    dtype: str
    splits: Mapping[str, PreparedSplit]
    split_rule: str  # "position", "documents" or "val_file"
    characters: int
    unchanged: bool

    @property
    def tokens(self) -> int:
        """Tokens of both splits."""
        return sum(split.tokens for split in self.splits.values())

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes of text that one token stands for, on average."""
        return sum(split.bytes for split in self.splits.values()) / self.tokens

    @property
    def advice(self) -> str | None:
        """A better tokenizer for this text, where the chosen one is a poor fit."""
        return advise(
            kind=self.tokenizer_kind,
            name=self.tokenizer,
            vocab_size=self.vocab_size,
            ids_used=self.ids_used,
            tokens=self.tokens,
            characters=self.characters,
            size_bytes=sum(split.bytes for split in self.splits.values()),
        )

    def to_json(self) -> dict[str, object]:
        """The document of `nanogpt prepare --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "dataset": self.name,
            "path": str(self.path),
            "tokenizer": self.tokenizer,
            "vocab_size": self.vocab_size,
            "ids_used": self.ids_used,
            "dtype": self.dtype,
            "splits": {name: asdict(split) for name, split in self.splits.items()},
            "split_rule": self.split_rule,
            "bytes_per_token": round(self.bytes_per_token, 4),
            "unchanged": self.unchanged,
        }

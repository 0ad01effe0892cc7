"""What the user asked `prepare` for: every choice that decides what ends up in a dataset.

It is kept in meta.json, so that a dataset can say how it was made, and the command that makes it anew carries
every option.
"""

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nanogpt_cli.data.sources.base import SourceOptions
from nanogpt_cli.data.sources.names import readable
from nanogpt_cli.data.tokenizers.recipes import DEFAULT_TOKENIZER, TokenizerOptions

DEFAULT_VAL_FRACTION: Final = 0.1  # nanoGPT's
DEFAULT_SEED: Final = 1337
DEFAULT_ROOT: Final = Path("data")
PLAIN_TOKENIZER: Final = TokenizerOptions()
PLAIN_SOURCE: Final = SourceOptions()


@dataclass(frozen=True, kw_only=True)
class Request:
    """One `nanogpt prepare`, without the choices that change no token (threads, where it goes)."""

    sources: tuple[str, ...]
    tokenizer: str = DEFAULT_TOKENIZER
    tokenizer_options: TokenizerOptions = PLAIN_TOKENIZER
    source_options: SourceOptions = PLAIN_SOURCE
    val_file: str | None = None
    val_fraction: float = DEFAULT_VAL_FRACTION  # not used where there is a val_file
    seed: int = DEFAULT_SEED

    def command(self, folder: Path, *flags: str) -> str:
        """The `nanogpt prepare` that makes this dataset in `folder`, quoted for a shell."""
        words = ["nanogpt", "prepare"]
        words += ["--", *self.sources] if any(s.startswith("-") and s != "-" for s in self.sources) else []
        sources = [] if "--" in words else list(self.sources)
        options = ["--tokenizer", self.tokenizer, "--name", folder.name]
        if folder.parent != DEFAULT_ROOT:
            options += ["--data-dir", str(folder.parent)]
        if self.val_file is not None:
            options += ["--val-file", self.val_file]
        elif self.val_fraction != DEFAULT_VAL_FRACTION:
            options += ["--val-fraction", str(self.val_fraction)]
        if self.seed != DEFAULT_SEED:
            options += ["--seed", str(self.seed)]
        options += _flags(self.tokenizer_options, {"special_tokens": "--special-token"})
        options += _flags(self.source_options, {})
        if sources:
            words += [*sources, *options, *flags]
        else:  # a source that looks like a flag comes behind the flags
            words[2:2] = [*options, *flags]
        return readable(shlex.join(words))

    def to_document(self) -> dict[str, object]:
        """As JSON, without what is as by default in the groups of options."""
        return {
            "sources": [readable(source) for source in self.sources],
            "tokenizer": readable(self.tokenizer),
            "tokenizer_options": _changed(self.tokenizer_options),
            "source_options": _changed(self.source_options),
            "val_file": None if self.val_file is None else readable(self.val_file),
            "val_fraction": self.val_fraction,
            "seed": self.seed,
        }


def request_from_document(document: Mapping[str, Any]) -> Request:
    """The inverse of `Request.to_document`; raises KeyError, TypeError or ValueError for a damaged one."""
    sources, val_file = document["sources"], document["val_file"]
    if not isinstance(sources, list) or not all(isinstance(source, str) for source in sources):
        raise ValueError(f"sources {sources!r}")
    if not (val_file is None or isinstance(val_file, str)):
        raise ValueError(f"val_file {val_file!r}")
    return Request(
        sources=tuple(sources),
        tokenizer=str(document["tokenizer"]),
        tokenizer_options=TokenizerOptions(**_tuples(document["tokenizer_options"])),
        source_options=SourceOptions(**_tuples(document["source_options"])),
        val_file=val_file,
        val_fraction=float(document["val_fraction"]),
        seed=int(document["seed"]),
    )


def _changed(options: TokenizerOptions | SourceOptions) -> dict[str, object]:
    values = (
        (field.name, getattr(options, field.name), field.default) for field in dataclasses.fields(options)
    )
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value, default in values
        if value != default
    }


def _tuples(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Options as the dataclasses hold them: JSON has lists only."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}


def _flags(options: TokenizerOptions | SourceOptions, spelling: Mapping[str, str]) -> list[str]:
    words: list[str] = []
    for name, value in _changed(options).items():
        flag = spelling.get(name, "--" + name.replace("_", "-"))
        if value is True:
            words.append(flag)
        else:
            for item in value if isinstance(value, list) else [value]:
                words += [flag, str(item)]
    return words

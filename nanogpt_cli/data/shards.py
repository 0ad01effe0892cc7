"""The token files of llm.c and modded-nanogpt: a header of 256 int32, then the ids.

header[0] is a magic number, [1] a version, [2] the number of tokens; all little-endian. Magic 20240520 with
version 1 means GPT-2's ids as uint16, 20240801 with version 7 Llama 3's as uint32. A folder holds several,
whose names say the split: fineweb_train_000001.bin, fineweb_val_000000.bin, TinyStories_train.bin.
https://github.com/karpathy/llm.c/blob/master/dev/data/data_common.py
https://github.com/KellerJordan/modded-nanogpt/blob/master/data/cached_fineweb10B.py
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nanogpt_cli.data.binfile import count_tokens
from nanogpt_cli.data.token_files import TokenFile
from nanogpt_cli.errors import NanoGPTError

HEADER_BYTES: Final = 256 * 4
_INT32: Final = np.dtype("<i4")
_EVALUATION_MAGIC: Final = 20240522  # llm.c's multiple-choice tests (HellaSwag, MMLU): questions, not text
_SPLIT_WORDS: Final = {"train": "train", "val": "val", "valid": "val", "validation": "val"}


@dataclass(frozen=True, kw_only=True)
class ShardFormat:
    """What a magic number stands for. `tokenizer` is a tiktoken name; None: one that is brought along."""

    label: str
    version: int
    dtype: np.dtype
    vocab_size: int
    tokenizer: str | None


FORMATS: Final[Mapping[int, ShardFormat]] = {
    20240520: ShardFormat(
        label="GPT-2", version=1, dtype=np.dtype("<u2"), vocab_size=50_257, tokenizer="gpt2"
    ),
    20240801: ShardFormat(
        label="Llama 3", version=7, dtype=np.dtype("<u4"), vocab_size=128_256, tokenizer=None
    ),
}


@dataclass(frozen=True, kw_only=True)
class ShardFolder:
    """The shards of a folder, in the order of their names; every split has at least one."""

    format: ShardFormat
    splits: Mapping[str, tuple[TokenFile, ...]]


def shard_paths(folder: Path) -> list[Path]:
    """The token files in `folder` that llm.c may have written, in order; [] for any other folder.

    By their names and first bytes: nanoGPT's train.bin and val.bin have no header.
    """
    magics = {path: _magic(path) for path in folder.glob("*.bin") if path.is_file()}
    known = {path for path, magic in magics.items() if magic in FORMATS}
    if not known and any((folder / name).is_file() for name in ("train.bin", "val.bin")):
        return []
    named = {path for path, magic in magics.items() if _split_of(path) and magic != _EVALUATION_MAGIC}
    return sorted(known | named, key=_natural_order)


def read_shards(folder: Path) -> ShardFolder:
    """The shards in `folder`, by their headers and sizes alone; raises NanoGPTError for what is wrong."""
    splits: dict[str, list[TokenFile]] = {"train": [], "val": []}
    formats: dict[int, Path] = {}
    for path in shard_paths(folder):
        magic, file = _read_header(path)
        formats.setdefault(magic, path)
        if (split := _split_of(path)) is None:
            renamed = path.with_name(f"{path.stem}_train.bin")
            raise NanoGPTError(
                f"{path} is for training or for validation? Its name must have _train_ or _val_ in it",
                f"mv {path} {renamed}",
            )
        splits[split].append(file)
    if len(formats) > 1:
        told = " and ".join(f"{path.name} {FORMATS[magic].label} ids" for magic, path in formats.items())
        raise NanoGPTError(
            f"{folder} mixes two kinds of token files: {told}", "move one kind into a folder of its own"
        )
    for split, files in splits.items():
        if not files:
            raise _missing(folder, split, shard_paths(folder))
    (magic,) = formats
    return ShardFolder(format=FORMATS[magic], splits={name: tuple(files) for name, files in splits.items()})


def _read_header(path: Path) -> tuple[int, TokenFile]:
    again = f"rm {path}, then download or make it again"
    with path.open("rb") as file:
        raw = file.read(HEADER_BYTES)
    if len(raw) < HEADER_BYTES:
        raise NanoGPTError(
            f"{path} is truncated: {len(raw):,} bytes, and the header of a token file has {HEADER_BYTES:,}",
            again,
        )
    magic, version, tokens = np.frombuffer(raw, dtype=_INT32)[:3].tolist()
    if magic not in FORMATS:
        known = " or ".join(map(str, FORMATS))
        raise NanoGPTError(
            f"{path} is no token file of llm.c: it begins with {magic}, not with {known}", again
        )
    form = FORMATS[magic]
    if version != form.version:
        raise NanoGPTError(
            f"{path} has format version {version}, this nanogpt reads {form.version} "
            f"({form.label} token files)",
            "pip install --upgrade nanogpt-cli",
        )
    if tokens < 0:
        raise NanoGPTError(f"{path} is damaged: its header says {tokens:,} tokens", again)
    count_tokens(
        path, form.dtype, expected=tokens, hint=again, header_bytes=HEADER_BYTES, said_by="its header"
    )
    return magic, TokenFile(path=path, tokens=tokens, header_bytes=HEADER_BYTES)


def _missing(folder: Path, split: str, present: Sequence[Path]) -> NanoGPTError:
    """The error for a folder without a shard of `split`; where there are several others, one can serve."""
    spare = present[0] if split == "train" else present[-1]
    renamed = re.sub("train|validation|valid|val", split, spare.name, flags=re.IGNORECASE)
    return NanoGPTError(
        f"{folder} has no token file for {split}: none with _{split}_ in its name",
        f"let one of the others serve: mv {spare} {folder / renamed}"
        if len(present) > 1
        else f"add one, {renamed} for example",
    )


def _magic(path: Path) -> int | None:
    with path.open("rb") as file:
        raw = file.read(_INT32.itemsize)
    return int.from_bytes(raw, "little") if len(raw) == _INT32.itemsize else None


def _split_of(path: Path) -> str | None:
    """The split that a file's name tells, by a word of its own: edu_fineweb_train_000001.bin."""
    words = re.split("[^a-z]+", path.stem.lower())
    return next((_SPLIT_WORDS[word] for word in reversed(words) if word in _SPLIT_WORDS), None)


def _natural_order(path: Path) -> tuple[list[int | str], str]:
    """train_2 before train_10."""
    return [int(part) if part.isdigit() else part for part in re.split("([0-9]+)", path.name)], path.name

"""Open a prepared dataset: ours (with meta.json), one made by nanoGPT's prepare.py, or the shards of llm.c.

Opening checks everything a training run would otherwise trip over hours later: sizes, checksums, ids within
the vocabulary, and that no preparation was interrupted half-way.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nanogpt_cli.data.binfile import count_tokens, dtype_for
from nanogpt_cli.data.discovery import INTERRUPTED_MARKER, find_dataset, newest_dataset
from nanogpt_cli.data.meta import META_JSON, DatasetMeta, read_meta
from nanogpt_cli.data.nanogpt_folder import META_PKL, read_meta_pkl
from nanogpt_cli.data.shards import read_shards, shard_paths
from nanogpt_cli.data.token_files import TokenFile, Tokens, open_token_files
from nanogpt_cli.data.tokenizers import (
    TOKENIZER_FILE,
    TiktokenTokenizer,
    Tokenizer,
    load_tokenizer,
    tokenizer_hash,
)
from nanogpt_cli.data.verify import scan_once
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Notice, NullReporter, Reporter

__all__ = ["INTERRUPTED_MARKER", "SPLITS", "Dataset", "Split", "newest_dataset", "open_dataset"]

SPLITS: Final = ("train", "val")
NANOGPT_DEFAULT_VOCAB: Final = 50304  # what nanoGPT takes without meta.pkl: GPT-2's 50,257 rounded up to 64s


@dataclass(frozen=True, kw_only=True)
class Split:
    """One file of tokens, or several shards. `bytes` of UTF-8 text are known for our own datasets only."""

    files: tuple[TokenFile, ...]
    tokens: int
    bytes: int | None
    sha256: str  # of the file; of the shards' checksums where there are several


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A verified dataset.

    `vocab_size` is None, and `vocab_source` too, where nothing in the folder tells and GPT-2's vocabulary is
    assumed. `tokenizer` is None where the folder does not say how ids become text.
    `fingerprint` changes whenever a token or the tokenizer does.
    """

    path: Path
    name: str
    vocab_size: int | None
    dtype: np.dtype
    tokenizer: Tokenizer | None
    tokenizer_name: str
    splits: Mapping[str, Split]
    vocab_source: Path | None
    fingerprint: str

    def tokens(self, split: str) -> Tokens:
        """The ids of a split, mapped read-only from the disk."""
        return open_token_files(self.splits[split].files, self.dtype)


def open_dataset(
    name_or_path: str, root: Path = Path("data"), *, reporter: Reporter | None = None
) -> Dataset:
    """The dataset `root/<name>`, or the folder at a path; raises for all that is wrong with it."""
    folder = find_dataset(name_or_path, root)
    listener = reporter or NullReporter()
    if (meta := read_meta(folder)) is not None:
        return _open_ours(folder, meta, listener)
    return _open_shards(folder, listener) if shard_paths(folder) else _open_nanogpt(folder, listener)


def _open_ours(folder: Path, meta: DatasetMeta, reporter: Reporter) -> Dataset:
    hint = meta.prepare_command(folder)
    tokenizer = load_tokenizer(folder)
    if tokenizer_hash(tokenizer) != meta.tokenizer_sha256 or tokenizer.vocab_size != meta.vocab_size:
        raise NanoGPTError(f"the tokenizer in {folder} is not the one its tokens were made with", hint)
    dtype = dtype_for(meta.vocab_size)
    ids = _Ids(dtype, meta.vocab_size, str(folder / META_JSON), hint, reporter)
    splits = {}
    for name in SPLITS:
        said = meta.splits[name]
        path = folder / f"{name}.bin"
        count_tokens(path, dtype, expected=said.tokens, hint=hint)
        file = TokenFile(path=path, tokens=said.tokens)
        splits[name] = ids.verify([file], text_bytes=said.bytes, sha256=said.sha256)
    return Dataset(
        path=folder,
        name=_name(folder),
        vocab_size=meta.vocab_size,
        dtype=dtype,
        tokenizer=tokenizer,
        tokenizer_name=tokenizer.name,
        splits=splits,
        vocab_source=folder / META_JSON,
        fingerprint=_fingerprint(splits, tokenizer_hash(tokenizer)),
    )


def _open_nanogpt(folder: Path, reporter: Reporter) -> Dataset:
    hint = f"prepare it again: nanogpt prepare input.txt --name {_name(folder)} --overwrite"
    if not any((folder / f"{name}.bin").exists() for name in SPLITS):
        raise NanoGPTError(
            f"{folder} holds no train.bin and val.bin",
            f"nanogpt prepare input.txt --tokenizer char --name {_name(folder)}",
        )
    meta_path = folder / META_PKL
    meta = read_meta_pkl(meta_path) if meta_path.is_file() else None
    source = str(meta_path) if meta else "GPT-2, assumed as there is no meta.pkl"
    dtype = np.dtype("<u2")  # the only type nanoGPT knows
    ids = _Ids(dtype, meta.vocab_size if meta else NANOGPT_DEFAULT_VOCAB, source, hint, reporter)
    splits = {}
    for name in SPLITS:
        path = folder / f"{name}.bin"
        tokens = count_tokens(path, dtype, expected=None, hint=hint)
        splits[name] = ids.verify([TokenFile(path=path, tokens=tokens)])
    return _foreign(
        folder,
        splits,
        dtype,
        tokenizer=meta.tokenizer if meta else TiktokenTokenizer("gpt2"),
        vocab_size=meta.vocab_size if meta else None,
        vocab_source=meta_path if meta else None,
    )


def _open_shards(folder: Path, reporter: Reporter) -> Dataset:
    shards = read_shards(folder)
    label = shards.format.label
    tokenizer: Tokenizer | None = None
    vocab_size, vocab_source, source = shards.format.vocab_size, None, label
    if (folder / TOKENIZER_FILE).is_file():
        tokenizer = load_tokenizer(folder)
        vocab_size, vocab_source = tokenizer.vocab_size, folder / TOKENIZER_FILE
        source = str(vocab_source)
    elif shards.format.tokenizer:
        tokenizer = TiktokenTokenizer(shards.format.tokenizer)
    hint = f"if another tokenizer made them: cp ITS/{TOKENIZER_FILE} {folder}/ (any prepared dataset has one)"
    ids = _Ids(shards.format.dtype, vocab_size, source, hint, reporter)
    n_files = sum(map(len, shards.splits.values()))
    reporter.emit(
        Notice(
            message=f"{folder}: {n_files} token files of llm.c, "
            + (f"their ids are those of {source}" if vocab_source else f"their ids are taken for {label}'s")
        )
    )
    return _foreign(
        folder,
        {name: ids.verify(files) for name, files in shards.splits.items()},
        shards.format.dtype,
        tokenizer=tokenizer,
        vocab_size=None if shards.format.tokenizer and not vocab_source else vocab_size,
        vocab_source=vocab_source,
    )


def _foreign(
    folder: Path,
    splits: Mapping[str, Split],
    dtype: np.dtype,
    *,
    tokenizer: Tokenizer | None,
    vocab_size: int | None,
    vocab_source: Path | None,
) -> Dataset:
    """A dataset that others made: all that its folder tells."""
    identity = tokenizer_hash(tokenizer) if tokenizer else f"vocabulary of {vocab_size}"
    return Dataset(
        path=folder,
        name=_name(folder),
        vocab_size=vocab_size,
        dtype=dtype,
        tokenizer=tokenizer,
        tokenizer_name=tokenizer.name if tokenizer else "unknown",
        splits=splits,
        vocab_source=vocab_source,
        fingerprint=_fingerprint(splits, identity),
    )


def _name(folder: Path) -> str:
    return folder.name or folder.resolve().name


@dataclass(frozen=True)
class _Ids:
    """What every id of a dataset must be: of a type, and of a vocabulary that `source` names."""

    dtype: np.dtype
    vocab_size: int
    source: str
    hint: str
    reporter: Reporter

    def verify(
        self, files: Sequence[TokenFile], *, text_bytes: int | None = None, sha256: str | None = None
    ) -> Split:
        """The split that `files` are together; a file that is not as it must be is an error."""
        checksums = []
        for file in files:
            found = scan_once(file.path, self.dtype, self.reporter, header_bytes=file.header_bytes)
            if sha256 is not None and found.sha256 != sha256:
                raise NanoGPTError(
                    f"{file.path} has changed since it was prepared (its checksum differs)", self.hint
                )
            if found.max_id >= self.vocab_size:
                raise NanoGPTError(
                    f"{file.path} holds token id {found.max_id:,}, outside the vocabulary of "
                    f"{self.vocab_size:,} ({self.source})",
                    self.hint,
                )
            checksums.append(found.sha256)
        return Split(
            files=tuple(files),
            tokens=sum(file.tokens for file in files),
            bytes=text_bytes,
            sha256=checksums[0] if len(checksums) == 1 else _digest(checksums),
        )


def _fingerprint(splits: Mapping[str, Split], tokenizer_identity: str) -> str:
    return _digest([*(splits[name].sha256 for name in SPLITS), tokenizer_identity])


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(texts)).encode("utf-8")).hexdigest()

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
from nanogpt_cli.data.discovery import find_dataset, how_to_prepare
from nanogpt_cli.data.meta import META_JSON, DatasetMeta, read_meta
from nanogpt_cli.data.nanogpt_folder import META_PKL, read_meta_pkl
from nanogpt_cli.data.shards import read_shards, shard_paths
from nanogpt_cli.data.token_files import TokenFile, Tokens, open_token_files
from nanogpt_cli.data.tokenizers.base import (
    TOKENIZER_FILE,
    TiktokenTokenizer,
    Tokenizer,
    load_tokenizer,
    tokenizer_hash,
)
from nanogpt_cli.data.tokenizers.paths import HF_FILE, read_tokenizer_at
from nanogpt_cli.data.verify import scan_once
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import Notice, NullReporter, Reporter

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
    tokenizer = load_tokenizer(folder, hint)
    if tokenizer_hash(tokenizer) != meta.tokenizer_sha256 or tokenizer.vocab_size != meta.vocab_size:
        raise NanoGPTError(f"the tokenizer in {folder} is not the one its tokens were made with", hint)
    dtype = dtype_for(meta.vocab_size)
    vocabulary = _Vocabulary(
        size=meta.vocab_size,
        tokenizer=tokenizer,
        source=folder / META_JSON,
        said_by=str(folder / META_JSON),
    )
    ids = _Ids(dtype, vocabulary, hint, reporter)
    splits = {}
    for name in SPLITS:
        said = meta.splits[name]
        path = folder / f"{name}.bin"
        count_tokens(path, dtype, expected=said.tokens, hint=hint)
        file = TokenFile(path=path, tokens=said.tokens)
        splits[name] = ids.verify([file], text_bytes=said.bytes, sha256=said.sha256)
    return _dataset(folder, splits, ids)


def _open_nanogpt(folder: Path, reporter: Reporter) -> Dataset:
    hint = f"prepare it again: nanogpt prepare input.txt --name {_name(folder)} --overwrite"
    if not any((folder / f"{name}.bin").exists() for name in SPLITS):
        raise NanoGPTError(
            f"{folder} holds no train.bin and val.bin",
            how_to_prepare(_name(folder)),
        )
    vocabulary = _vocabulary(folder, reporter) or _Vocabulary(
        size=NANOGPT_DEFAULT_VOCAB,
        tokenizer=TiktokenTokenizer("gpt2"),
        source=None,
        said_by="GPT-2, assumed as there is no meta.pkl",
    )
    dtype = dtype_for(vocabulary.size)  # nanoGPT itself writes uint16 alone
    ids = _Ids(dtype, vocabulary, hint, reporter)
    splits = {}
    for name in SPLITS:
        path = folder / f"{name}.bin"
        tokens = count_tokens(path, dtype, expected=None, hint=hint)
        splits[name] = ids.verify([TokenFile(path=path, tokens=tokens)])
    return _dataset(folder, splits, ids)


def _open_shards(folder: Path, reporter: Reporter) -> Dataset:
    shards = read_shards(folder)
    form = shards.format
    vocabulary = _vocabulary(folder, reporter) or _Vocabulary(
        size=form.vocab_size,
        tokenizer=TiktokenTokenizer(form.tokenizer) if form.tokenizer else None,
        source=None,
        said_by=form.label,
    )
    n_files = sum(map(len, shards.splits.values()))
    whose = f"of {vocabulary.source}" if vocabulary.source else f"taken for {form.label}'s"
    reporter.emit(Notice(message=f"{folder}: {n_files} token files of llm.c, whose ids are {whose}"))
    hint = f"if another tokenizer made them: cp ITS/{TOKENIZER_FILE} {folder}/ (any prepared dataset has one)"
    ids = _Ids(form.dtype, vocabulary, hint, reporter)
    return _dataset(folder, {name: ids.verify(files) for name, files in shards.splits.items()}, ids)


def _name(folder: Path) -> str:
    return folder.name or folder.resolve().name


@dataclass(frozen=True, kw_only=True)
class _Vocabulary:
    """How many ids there are, and what they mean; no `source` file where that is assumed."""

    size: int
    tokenizer: Tokenizer | None
    source: Path | None
    said_by: str


def _vocabulary(folder: Path, reporter: Reporter) -> _Vocabulary | None:
    """What lies beside the tokens: a tokenizer of ours, nanoGPT's meta.pkl, or a tokenizer.json."""
    path = next((folder / n for n in (TOKENIZER_FILE, META_PKL, HF_FILE) if (folder / n).is_file()), None)
    if path is None:
        return None
    if path.name == META_PKL:
        meta = read_meta_pkl(path)
        size, tokenizer = meta.vocab_size, meta.tokenizer
    else:
        tokenizer = read_tokenizer_at(path, reporter)
        size = tokenizer.vocab_size
    return _Vocabulary(size=size, tokenizer=tokenizer, source=path, said_by=str(path))


@dataclass(frozen=True)
class _Ids:
    """What every id of a dataset must be: of a type, and of a vocabulary."""

    dtype: np.dtype
    vocabulary: _Vocabulary
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
            if found.max_id >= self.vocabulary.size:
                raise NanoGPTError(
                    f"{file.path} holds token id {found.max_id:,}, outside the vocabulary of "
                    f"{self.vocabulary.size:,} ({self.vocabulary.said_by})",
                    self.hint,
                )
            checksums.append(found.sha256)
        return Split(
            files=tuple(files),
            tokens=sum(file.tokens for file in files),
            bytes=text_bytes,
            sha256=checksums[0] if len(checksums) == 1 else _digest(checksums),
        )


def _dataset(folder: Path, splits: Mapping[str, Split], ids: _Ids) -> Dataset:
    tokenizer, source, size = ids.vocabulary.tokenizer, ids.vocabulary.source, ids.vocabulary.size
    assumed = source is None and tokenizer is not None  # GPT-2's, whose padded size is the model's choice
    identity = tokenizer_hash(tokenizer) if tokenizer else f"vocabulary of {size}"
    return Dataset(
        path=folder,
        name=_name(folder),
        vocab_size=None if assumed else size,
        dtype=ids.dtype,
        tokenizer=tokenizer,
        tokenizer_name=tokenizer.name if tokenizer else "unknown",
        splits=splits,
        vocab_source=source,
        fingerprint=_fingerprint(splits, identity),
    )


def _fingerprint(splits: Mapping[str, Split], tokenizer_identity: str) -> str:
    return _digest([*(splits[name].sha256 for name in SPLITS), tokenizer_identity])


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(texts)).encode("utf-8")).hexdigest()

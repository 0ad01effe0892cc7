"""Open a prepared dataset: ours (with meta.json) or a folder made by nanoGPT's prepare.py.

Opening checks everything a training run would otherwise trip over hours later: sizes, checksums, ids within
the vocabulary, and that no preparation was interrupted half-way.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nanogpt_cli.data.binfile import Scan, count_tokens, dtype_for, open_tokens
from nanogpt_cli.data.meta import META_JSON, DatasetMeta, read_meta
from nanogpt_cli.data.nanogpt_folder import META_PKL, read_meta_pkl
from nanogpt_cli.data.tokenizers import TiktokenTokenizer, Tokenizer, load_tokenizer, tokenizer_hash
from nanogpt_cli.data.verify import scan_once
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.events import NullReporter, Reporter

SPLITS: Final = ("train", "val")
# Present while the files of an existing dataset are being replaced; holds the command that finishes the job.
INTERRUPTED_MARKER: Final = ".preparing"
NANOGPT_DEFAULT_VOCAB: Final = 50304  # what nanoGPT takes without meta.pkl: GPT-2's 50,257 rounded up to 64s


@dataclass(frozen=True, kw_only=True)
class Split:
    """One file of tokens. `bytes` of UTF-8 text are known for our own datasets only."""

    path: Path
    tokens: int
    bytes: int | None
    sha256: str | None


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A verified dataset.

    `vocab_size` is None, and `vocab_source` too, where a nanoGPT folder has no meta.pkl and GPT-2's
    vocabulary is assumed. `tokenizer` is None where meta.pkl describes something else than characters.
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

    def tokens(self, split: str) -> np.ndarray:
        """The ids of a split, (tokens,), mapped read-only from the disk."""
        return open_tokens(self.splits[split].path, self.dtype)


def open_dataset(
    name_or_path: str, root: Path = Path("data"), *, reporter: Reporter | None = None
) -> Dataset:
    """The dataset `root/<name>`, or the folder at a path; raises for all that is wrong with it."""
    folder = _find(name_or_path, root)
    check_not_interrupted(folder)
    listener = reporter or NullReporter()
    if (meta := read_meta(folder)) is not None:
        return _open_ours(folder, meta, listener)
    return _open_nanogpt(folder, listener)


def newest_dataset(root: Path = Path("data")) -> str:
    """The name of the only, or else the newest, dataset under `root`."""
    found = {}
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        for name in (INTERRUPTED_MARKER, META_JSON, "train.bin"):
            if (folder / name).is_file():
                found[folder.name] = (folder / name).stat().st_mtime_ns
                break
    if not found:
        raise NanoGPTError(
            f"there is no prepared dataset under {root}/", "nanogpt prepare input.txt --tokenizer char"
        )
    return max(found, key=lambda name: found[name])


def check_not_interrupted(folder: Path) -> None:
    """Raise where the files of `folder` are half old, half new."""
    marker = folder / INTERRUPTED_MARKER
    if marker.exists():
        command = marker.read_text(encoding="utf-8", errors="replace").strip()
        raise NanoGPTError(
            f"the preparation of {folder} was interrupted; its files are not whole",
            command or "run the same nanogpt prepare command again",
        )


def _find(name_or_path: str, root: Path) -> Path:
    for folder in (root / name_or_path, Path(name_or_path)):
        if folder.is_dir():
            return folder
    if Path(name_or_path).is_file():
        raise NanoGPTError(
            f"{name_or_path} is a file, not a prepared dataset",
            f"prepare it first: nanogpt prepare {name_or_path} --tokenizer char",
        )
    known = sorted(p.parent.name for p in root.glob("[!.]*/train.bin")) if root.is_dir() else []
    raise NanoGPTError(
        f"there is no dataset {name_or_path!r} under {root}/",
        f"nanogpt train --dataset {known[0]}, or another of: {', '.join(known)}"
        if known
        else "nanogpt prepare input.txt --tokenizer char",
    )


def _open_ours(folder: Path, meta: DatasetMeta, reporter: Reporter) -> Dataset:
    hint = meta.prepare_command(folder)
    tokenizer = load_tokenizer(folder)
    if tokenizer_hash(tokenizer) != meta.tokenizer_sha256 or tokenizer.vocab_size != meta.vocab_size:
        raise NanoGPTError(f"the tokenizer in {folder} is not the one its tokens were made with", hint)
    dtype = dtype_for(meta.vocab_size)
    splits = {}
    for name in SPLITS:
        said = meta.splits[name]
        path = folder / f"{name}.bin"
        tokens = count_tokens(path, dtype, expected=said.tokens, hint=hint)
        found = scan_once(path, dtype, reporter)
        if found.sha256 != said.sha256:
            raise NanoGPTError(f"{path} has changed since it was prepared (its checksum differs)", hint)
        _check_vocabulary(path, found, meta.vocab_size, str(folder / META_JSON), hint)
        splits[name] = Split(path=path, tokens=tokens, bytes=said.bytes, sha256=found.sha256)
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
    tokenizer = meta.tokenizer if meta else TiktokenTokenizer("gpt2")
    vocab_size = meta.vocab_size if meta else None
    dtype = np.dtype("<u2")  # the only type nanoGPT knows
    splits = {}
    for name in SPLITS:
        path = folder / f"{name}.bin"
        tokens = count_tokens(path, dtype, expected=None, hint=hint)
        found = scan_once(path, dtype, reporter)
        source = str(meta_path) if meta else "GPT-2, assumed as there is no meta.pkl"
        _check_vocabulary(path, found, vocab_size or NANOGPT_DEFAULT_VOCAB, source, hint)
        splits[name] = Split(path=path, tokens=tokens, bytes=None, sha256=found.sha256)
    identity = tokenizer_hash(tokenizer) if tokenizer else f"vocabulary of {vocab_size}"
    return Dataset(
        path=folder,
        name=_name(folder),
        vocab_size=vocab_size,
        dtype=dtype,
        tokenizer=tokenizer,
        tokenizer_name=tokenizer.name if tokenizer else "unknown",
        splits=splits,
        vocab_source=meta_path if meta else None,
        fingerprint=_fingerprint(splits, identity),
    )


def _name(folder: Path) -> str:
    return folder.name or folder.resolve().name


def _check_vocabulary(path: Path, found: Scan, vocab_size: int, source: str, hint: str) -> None:
    if found.max_id >= vocab_size:
        raise NanoGPTError(
            f"{path} holds token id {found.max_id:,}, outside the vocabulary of {vocab_size:,} ({source})",
            hint,
        )


def _fingerprint(splits: Mapping[str, Split], tokenizer_identity: str) -> str:
    canonical = json.dumps([*(splits[name].sha256 for name in SPLITS), tokenizer_identity])
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()

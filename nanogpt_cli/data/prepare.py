"""`prepare`: from a text to a dataset folder that trains here and in nanoGPT.

Two passes over the text in constant memory: the first counts it and collects its characters, the second
encodes it. Nothing is written before the text, the tokenizer and the split are known to be good; then either
the whole dataset appears or nothing does.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from nanogpt_cli import files
from nanogpt_cli.data.binfile import dtype_for
from nanogpt_cli.data.dataset import INTERRUPTED_MARKER, open_dataset
from nanogpt_cli.data.install import holds_dataset, install
from nanogpt_cli.data.meta import (
    META_JSON,
    DatasetMeta,
    SourceMeta,
    SplitMeta,
    read_meta,
)
from nanogpt_cli.data.nanogpt_folder import META_PKL, meta_pkl
from nanogpt_cli.data.prepared import PreparedDataset, PreparedSplit
from nanogpt_cli.data.recipes import DEFAULT_TOKENIZER, TokenizerOptions, choose_recipe
from nanogpt_cli.data.request import (
    DEFAULT_ROOT,
    DEFAULT_SEED,
    DEFAULT_VAL_FRACTION,
    PLAIN_SOURCE,
    PLAIN_TOKENIZER,
    Request,
)
from nanogpt_cli.data.sources.base import Source, SourceOptions
from nanogpt_cli.data.sources.names import check_name
from nanogpt_cli.data.sources.open import open_sources
from nanogpt_cli.data.split_writer import write_splits
from nanogpt_cli.data.survey import Survey, split_position, survey
from nanogpt_cli.data.tokenizers import (
    Tokenizer,
    save_tokenizer,
    tokenizer_hash,
)
from nanogpt_cli.errors import NanoGPTError, UsageError, os_reason
from nanogpt_cli.events import NullReporter, Reporter, Warned

__all__ = ["PreparedDataset", "PreparedSplit", "prepare"]

DEFAULT_BLOCK_SIZE: Final = 64  # cpu-tiny's
_SHORTEST_USEFUL_VAL: Final = 65  # one window of cpu-tiny: block_size 64 and the token after it


def prepare(
    sources: str | Sequence[str],
    *,
    tokenizer: str = DEFAULT_TOKENIZER,
    tokenizer_options: TokenizerOptions = PLAIN_TOKENIZER,
    source_options: SourceOptions = PLAIN_SOURCE,
    val_file: Path | None = None,
    val_fraction: float = DEFAULT_VAL_FRACTION,
    seed: int = DEFAULT_SEED,
    block_size: int = DEFAULT_BLOCK_SIZE,
    name: str | None = None,
    data_root: Path = DEFAULT_ROOT,
    threads: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> PreparedDataset:
    """Make the dataset `data_root/<name>` of a text; raises NanoGPTError for all that cannot be used.

    The first `1 - val_fraction` of the characters train, the rest validate, as in nanoGPT. A dataset that is
    there already is left alone: if it is the very same, that is the result; if not, `overwrite` is needed.
    """
    listener = reporter or NullReporter()
    if not (math.isfinite(val_fraction) and 0 < val_fraction < 1):
        raise UsageError(f"--val-fraction must lie between 0 and 1, not {val_fraction}", "--val-fraction 0.1")
    request = Request(
        sources=(sources,) if isinstance(sources, str) else tuple(sources),
        tokenizer=tokenizer,
        tokenizer_options=tokenizer_options,
        source_options=source_options,
        val_file=None if val_file is None else str(val_file),
        val_fraction=val_fraction,
        seed=seed,
    )
    recipe = choose_recipe(tokenizer, tokenizer_options)
    text = open_sources(request.sources, source_options, listener)
    folder = data_root / (check_name(name) if name is not None else text.dataset_name)
    command = request.command(folder, "--overwrite")
    _check_target(folder)
    found = survey(text, listener)
    position = split_position(found, val_fraction, text.label)
    if holds_dataset(folder) and not overwrite and not (folder / INTERRUPTED_MARKER).exists():
        return _unchanged(folder, found, request, command, listener)

    vocabulary = recipe.build(alphabet=found.alphabet, sample=(), reporter=listener)
    made: list[DatasetMeta] = []

    def build(temporary: Path) -> None:
        splits = write_splits(text, vocabulary, found, position, temporary, listener)
        made.append(_describe(text, found, vocabulary, splits, request))
        save_tokenizer(vocabulary, temporary)
        if (raw := meta_pkl(vocabulary)) is not None:
            files.write_atomic(temporary / META_PKL, raw)
        files.write_json(temporary / META_JSON, made[0].to_document())

    try:
        install(folder, build, command)
    except OSError as error:
        raise NanoGPTError(
            f"{folder} cannot be written: {os_reason(error)}",
            f"check the permissions of {data_root} and the free space (df -h {data_root}), then run it again",
        ) from error
    _warn_if_short(made[0], val_fraction, listener)
    return _prepared(folder, made[0], unchanged=False)


def _check_target(folder: Path) -> None:
    for path in (folder.parent, folder):
        if path.exists() and not path.is_dir():
            raise NanoGPTError(
                f"{path} is a file, and the dataset needs a folder there", f"mv {path} {path}.txt"
            )


def _unchanged(
    folder: Path, found: Survey, request: Request, command: str, reporter: Reporter
) -> PreparedDataset:
    """The dataset in `folder` if preparing would give the same; else an error."""
    meta = read_meta(folder)
    if meta is None:
        raise NanoGPTError(f"{folder} already holds a dataset", f"to replace its tokens: {command}")
    wanted = (found.sha256, found.documents, request.tokenizer, request.val_fraction)
    existing = (meta.source.sha256, meta.source.documents, meta.tokenizer_name, meta.val_fraction)
    if existing != wanted:
        raise NanoGPTError(
            f"{folder} already holds another dataset ({meta.source.label}, tokenizer {meta.tokenizer_name})",
            f"to replace it: {command}; to keep both: add --name and another name",
        )
    open_dataset(str(folder), Path(), reporter=reporter)
    _warn_if_short(meta, request.val_fraction, reporter)
    return _prepared(folder, meta, unchanged=True)


def _describe(
    source: Source, found: Survey, tokenizer: Tokenizer, splits: Mapping[str, SplitMeta], request: Request
) -> DatasetMeta:
    return DatasetMeta(
        tokenizer_kind=tokenizer.kind,
        tokenizer_name=tokenizer.name,
        tokenizer_sha256=tokenizer_hash(tokenizer),
        vocab_size=tokenizer.vocab_size,
        splits=splits,
        source=SourceMeta(
            kind=source.kind,
            label=source.label,
            sha256=found.sha256,
            bytes=found.bytes,
            characters=found.characters,
            documents=found.documents,
        ),
        val_fraction=request.val_fraction,
        request=request,
    )


def _prepared(folder: Path, meta: DatasetMeta, *, unchanged: bool) -> PreparedDataset:
    return PreparedDataset(
        path=folder,
        name=folder.name,
        tokenizer=meta.tokenizer_name,
        vocab_size=meta.vocab_size,
        dtype=dtype_for(meta.vocab_size).name,
        splits={
            name: PreparedSplit(tokens=split.tokens, bytes=split.bytes, documents=split.documents)
            for name, split in meta.splits.items()
        },
        characters=meta.source.characters,
        unchanged=unchanged,
    )


def _warn_if_short(meta: DatasetMeta, val_fraction: float, reporter: Reporter) -> None:
    tokens = meta.splits["val"].tokens
    if tokens < _SHORTEST_USEFUL_VAL:
        larger = (
            f" or a larger share (--val-fraction {min(0.5, 2 * val_fraction):g})"
            if val_fraction < 0.5
            else ""
        )
        reporter.emit(
            Warned(
                message=f"val has only {tokens} tokens; training with block_size 64 needs "
                f"{_SHORTEST_USEFUL_VAL}: use a longer text{larger}"
            )
        )

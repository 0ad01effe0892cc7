"""`prepare`: from any text to a dataset folder that trains here and in nanoGPT.

Two passes over the text in constant memory: the first counts it and collects what the tokenizer must know,
the second encodes it. Nothing is put in place before the text, the tokenizer, the split and every token are
known to be good; then either the whole dataset appears or nothing does.
"""

import dataclasses
import math
import time
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from nanogpt_cli import files
from nanogpt_cli.data.binfile import dtype_for
from nanogpt_cli.data.dataset import open_dataset
from nanogpt_cli.data.discovery import INTERRUPTED_MARKER
from nanogpt_cli.data.meta import META_JSON, DatasetMeta, SourceMeta, SplitMeta, read_meta
from nanogpt_cli.data.nanogpt_folder import META_PKL, meta_pkl
from nanogpt_cli.data.preparing.alphabet import Alphabet
from nanogpt_cli.data.preparing.install import DATASET_FILES, holds_dataset, install
from nanogpt_cli.data.preparing.interpreter import set_for_blocks
from nanogpt_cli.data.preparing.job import Job, load_job
from nanogpt_cli.data.preparing.mark import Mark
from nanogpt_cli.data.preparing.pipeline import thread_count
from nanogpt_cli.data.preparing.prepared import PreparedDataset, PreparedSplit
from nanogpt_cli.data.preparing.request import (
    DEFAULT_ROOT,
    DEFAULT_SEED,
    DEFAULT_VAL_FRACTION,
    PLAIN_SOURCE,
    PLAIN_TOKENIZER,
    Request,
)
from nanogpt_cli.data.preparing.sampling import EvenSample
from nanogpt_cli.data.preparing.split_writer import Input, SplitWriter
from nanogpt_cli.data.preparing.splitting import choose_split, too_short_hint
from nanogpt_cli.data.preparing.spool import spooled
from nanogpt_cli.data.preparing.survey import survey
from nanogpt_cli.data.preparing.workplace import Leftover, PointlessToResumeError, Workplace
from nanogpt_cli.data.sources.base import Source, SourceOptions
from nanogpt_cli.data.sources.names import check_name
from nanogpt_cli.data.sources.open import open_sources
from nanogpt_cli.data.tokenizers.base import load_tokenizer, save_tokenizer, tokenizer_hash
from nanogpt_cli.data.tokenizers.recipes import DEFAULT_TOKENIZER, Recipe, TokenizerOptions, choose_recipe
from nanogpt_cli.errors import NanoGPTError, UsageError, os_reason
from nanogpt_cli.events import Notice, NullReporter, Reporter

__all__ = ["PreparedDataset", "PreparedSplit", "prepare"]

DEFAULT_BLOCK_SIZE: Final = 64  # cpu-tiny's


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
    """Make the dataset `data_root/<name>` of texts; raises NanoGPTError for all that cannot be used.

    One text is split by position: its first `1 - val_fraction` trains, as in nanoGPT. Of a collection whole
    documents are drawn by `seed`. `val_file` validates instead, and all else trains. Both splits must hold
    `block_size + 1` tokens. A dataset that is there already is left alone: if it is the very same, that is
    the result; if not, `overwrite` is needed. `resume` goes on with what an interrupted call has left.
    """
    if not (math.isfinite(val_fraction) and 0 < val_fraction < 1):
        raise UsageError(f"--val-fraction must lie between 0 and 1, not {val_fraction}", "--val-fraction 0.1")
    if not 0 <= seed < 1 << 64:
        raise UsageError(f"--seed must lie between 0 and 2^64 - 1, not {seed}", f"--seed {DEFAULT_SEED}")
    request = Request(
        sources=(sources,) if isinstance(sources, str) else tuple(sources),
        tokenizer=tokenizer,
        tokenizer_options=tokenizer_options,
        source_options=source_options,
        val_file=None if val_file is None else str(val_file),
        val_fraction=val_fraction,
        seed=seed,
    )
    listener = reporter or NullReporter()
    preparation = _Preparation(request, data_root, name, block_size, thread_count(threads), listener)
    try:
        with set_for_blocks():
            return preparation.run(resume=resume, overwrite=overwrite)
    except OSError as error:
        raise NanoGPTError(
            f"{preparation.folder} cannot be written: {os_reason(error)}",
            f"check the permissions of {data_root} and the free space (df -h {data_root}), then run it again",
        ) from error


class _Preparation:
    """One call of `prepare`: what is asked for, where it goes, and the steps to it."""

    def __init__(
        self,
        request: Request,
        data_root: Path,
        name: str | None,
        block_size: int,
        threads: int,
        reporter: Reporter,
    ) -> None:
        self._started = time.monotonic()
        self._request = request
        self._block_size = block_size
        self._threads = threads
        self._reporter = reporter
        self._recipe: Recipe = choose_recipe(request.tokenizer, request.tokenizer_options, reporter)
        self._sources = _open(request, reporter)
        self.folder = data_root / (check_name(name) if name is not None else self._sources[0].dataset_name)
        self._command = request.command(self.folder, "--overwrite")

    def run(self, *, resume: bool, overwrite: bool) -> PreparedDataset:
        """Make the dataset, or find that it is there."""
        _check_target(self.folder)
        with Workplace(self.folder) as place:
            interrupted = self._interrupted(place, resume=resume, overwrite=overwrite)
            self._spool(place, resumed=interrupted is not None)
            if interrupted is not None:
                job, mark = interrupted
            else:
                occupied = holds_dataset(self.folder) and not (self.folder / INTERRUPTED_MARKER).exists()
                compare = occupied and not overwrite
                job, mark = self._survey(checksum=compare), None
                if compare:
                    return self._unchanged(job)
                save_tokenizer(job.tokenizer, place.folder)
            meta = self._write(job, mark, place)
            self._check_lengths(meta)
            self._put_in_place(meta, place)
        return _prepared(self.folder, meta, unchanged=False)

    # ---- before

    def _interrupted(self, place: Workplace, *, resume: bool, overwrite: bool) -> tuple[Job, Mark] | None:
        """The job that an earlier call has left, if it is to be resumed; other leftovers are removed."""
        found: tuple[Job, Mark] | None = None
        for leftover in place.leftovers():
            loaded = load_job(leftover.path, self._request)
            if loaded is None or (overwrite and not resume) or found is not None:
                self._remove(leftover)
            elif resume:
                place.adopt(leftover)
                found = loaded
            else:
                leftover.lock.close()
                raise NanoGPTError(
                    f"the preparation of {self.folder} was interrupted at {loaded[1].fraction:.0%}",
                    f"to go on: {self._request.command(self.folder, '--resume')}; "
                    f"to begin again: {self._command}",
                )
        if resume and found is None and not holds_dataset(self.folder):
            self._say(f"there is nothing to resume for {self.folder}: beginning at the beginning")
        return found

    def _remove(self, leftover: Leftover) -> None:
        leftover.remove()
        self._say(f"removed {leftover.path}, left behind by a preparation that was interrupted")

    def _spool(self, place: Workplace, *, resumed: bool) -> None:
        """Keep what can be read only once, as two passes are needed."""
        for number, source in enumerate(self._sources):
            if not source.repeatable:
                path = place.folder / f"spool-{number}"
                self._sources[number] = spooled(source, path, self._reporter, again=resumed)

    def _survey(self, *, checksum: bool) -> Job:
        """The first pass over every source, and what it decides."""
        alphabet = Alphabet() if self._recipe.needs_alphabet else None
        sample = EvenSample(self._recipe.sample_bytes)
        surveys = []
        sizes = [array("Q") for _ in self._sources]
        for number, source in enumerate(self._sources):
            wanted = sample if self._recipe.sample_bytes and number == 0 else None
            surveys.append(
                survey(
                    source,
                    self._reporter,
                    threads=self._threads,
                    checksum=checksum,
                    alphabet=alphabet,
                    sample=wanted,
                    sizes=sizes[number] if source.collection else None,
                )
            )
        request, own_val = self._request, len(self._sources) > 1
        splits = [
            choose_split(
                found,
                sizes=sizes[number],
                collection=source.collection,
                side="val" if number else "train" if own_val else None,
                val_fraction=request.val_fraction,
                seed=request.seed,
                label=source.label,
            )
            for number, (source, found) in enumerate(zip(self._sources, surveys, strict=True))
        ]
        characters = alphabet.characters if alphabet else ""
        return Job(
            request=request,
            tokenizer=self._recipe.build(alphabet=characters, sample=sample, reporter=self._reporter),
            surveys=surveys,
            splits=splits,
            ids_used=len(characters) if alphabet else None,
        )

    def _unchanged(self, job: Job) -> PreparedDataset:
        """The dataset in the folder if preparing would give the same; else an error."""
        meta = read_meta(self.folder)
        if meta is None:
            raise NanoGPTError(
                f"{self.folder} already holds a dataset", f"to replace its tokens: {self._command}"
            )
        checksums = [found.sha256 or "" for found in job.surveys]
        if not _same(meta, self._describe(job, checksums, meta.splits, meta.ids_used)):
            raise NanoGPTError(
                f"{self.folder} already holds another dataset "
                f"({meta.source.label}, tokenizer {meta.tokenizer_name})",
                f"to replace it: {self._command}; to keep both: add --name and another name",
            )
        open_dataset(str(self.folder), Path(), reporter=self._reporter)
        self._check_lengths(meta)
        return _prepared(self.folder, meta, unchanged=True)

    # ---- the second pass, and after

    def _write(self, job: Job, mark: Mark | None, place: Workplace) -> DatasetMeta:
        def record(reached: Mark) -> None:
            job.save(place.folder, reached)
            place.resumable = True

        writer = SplitWriter(
            [
                Input(source=source, found=found, split=split)
                for source, found, split in zip(self._sources, job.surveys, job.splits, strict=True)
            ],
            job.tokenizer,
            place.folder,
            self._reporter,
            threads=self._threads,
            count_ids=job.ids_used is None,
            record=record,
            done=mark,
            started=self._started,
        )
        try:
            splits = writer.write()
        except (KeyboardInterrupt, SystemExit, OSError):
            if place.resumable:
                self._say(f"to go on later: {self._request.command(self.folder, '--resume')}")
            raise
        ids_used = writer.ids_used if job.ids_used is None else job.ids_used
        return self._describe(job, writer.text_sha256, splits, ids_used)

    def _describe(
        self, job: Job, checksums: Sequence[str], splits: Mapping[str, SplitMeta], ids_used: int | None
    ) -> DatasetMeta:
        sources = [
            SourceMeta(
                kind=source.kind,
                label=source.label,
                sha256=checksum,
                bytes=found.bytes,
                characters=found.characters,
                documents=found.documents,
            )
            for source, found, checksum in zip(self._sources, job.surveys, checksums, strict=True)
        ]
        return DatasetMeta(
            tokenizer_kind=job.tokenizer.kind,
            tokenizer_name=job.tokenizer.name,
            tokenizer_sha256=tokenizer_hash(job.tokenizer),
            vocab_size=job.tokenizer.vocab_size,
            splits=splits,
            source=sources[0],
            val_fraction=job.request.val_fraction,
            val_source=sources[1] if len(sources) > 1 else None,
            split_rule=job.splits[0].rule,
            ids_used=ids_used,
            request=job.request,
        )

    def _check_lengths(self, meta: DatasetMeta) -> None:
        """Each split must hold one window and the token after it."""
        for name, split in meta.splits.items():
            if split.tokens <= self._block_size:
                raise PointlessToResumeError(
                    f"{name} has only {split.tokens:,} tokens, and one window of block_size "
                    f"{self._block_size} needs {self._block_size + 1:,}",
                    too_short_hint(meta, self._block_size),
                )

    def _put_in_place(self, meta: DatasetMeta, place: Workplace) -> None:
        folder = place.folder
        tokenizer = load_tokenizer(folder)
        if (raw := meta_pkl(tokenizer)) is not None:
            files.write_atomic(folder / META_PKL, raw)
        files.write_json(folder / META_JSON, meta.to_document())
        place.resumable = False  # from here on it is whole, or gone
        place.release()
        for path in folder.iterdir():
            if path.name not in DATASET_FILES:
                path.unlink()
        install(self.folder, folder, self._command)

    def _say(self, message: str) -> None:
        self._reporter.emit(Notice(message=message))


def _open(request: Request, reporter: Reporter) -> list[Source]:
    """All sources as one, and the validation text where there is one."""
    options = request.source_options
    if request.val_file is None:
        return [open_sources(request.sources, options, reporter)]
    val = [request.val_file]
    for_val = dataclasses.replace(options, max_docs=None)  # which shortens what trains
    validation = open_sources(val, for_val, reporter, flag="--val-file", beside=request.sources)
    return [open_sources(request.sources, options, reporter, beside=val), validation]


def _check_target(folder: Path) -> None:
    for path in (folder.parent, folder):
        if path.exists() and not path.is_dir():
            raise NanoGPTError(
                f"{path} is a file, and the dataset needs a folder there", f"mv {path} {path}.txt"
            )


def _same(existing: DatasetMeta, wanted: DatasetMeta) -> bool:
    """Whether two datasets hold the same tokens, split in the same way."""

    def identity(meta: DatasetMeta) -> tuple[object, ...]:
        texts = [(text.sha256, text.documents) for text in (meta.source, meta.val_source) if text]
        seed = meta.request.seed if meta.request and meta.split_rule == "documents" else None
        fraction = None if meta.split_rule == "val_file" else meta.val_fraction
        return meta.tokenizer_sha256, texts, meta.split_rule, fraction, seed

    return identity(existing) == identity(wanted)


def _prepared(folder: Path, meta: DatasetMeta, *, unchanged: bool) -> PreparedDataset:
    return PreparedDataset(
        path=folder,
        name=folder.name,
        tokenizer=meta.tokenizer_name,
        tokenizer_kind=meta.tokenizer_kind,
        vocab_size=meta.vocab_size,
        ids_used=meta.ids_used,
        dtype=dtype_for(meta.vocab_size).name,
        splits={
            name: PreparedSplit(tokens=split.tokens, bytes=split.bytes, documents=split.documents)
            for name, split in meta.splits.items()
        },
        split_rule=meta.split_rule,
        characters=meta.source.characters + (meta.val_source.characters if meta.val_source else 0),
        unchanged=unchanged,
    )

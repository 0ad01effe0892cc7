"""A dataset of the `datasets` library in a local folder: saved by it, or laid out as on the hub."""

import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from nanogpt_cli.data.sources.base import Source, SourceOptions
from nanogpt_cli.data.sources.columns import choose_text_column
from nanogpt_cli.data.sources.dataset_choice import choose_split, column_kinds, config_error, split_of
from nanogpt_cli.data.sources.dataset_rows import (
    Batches,
    DatasetRows,
    kinds_of,
    stored_batches,
    streamed_batches,
)
from nanogpt_cli.data.sources.hub_errors import Asked
from nanogpt_cli.data.sources.hub_manners import each_within, guests
from nanogpt_cli.data.sources.names import readable, safe_name
from nanogpt_cli.errors import UsageError
from nanogpt_cli.events import Reporter

# What save_to_disk writes beside the Arrow files.
_SAVED_DATASET: Final = ("state.json", "dataset_info.json")
_SAVED_DICT: Final = "dataset_dict.json"
_TABLE: Final = re.compile(r"\.(parquet|jsonl?|ndjson|csv|tsv|arrow)(\.(gz|zst|xz|bz2))?$", re.IGNORECASE)
# File and folder names that `datasets` takes for splits
# (https://huggingface.co/docs/datasets/repository_structure).
_SPLIT: Final = re.compile(
    r"(^|[-_ ./0-9])(train(ing)?|validation|valid|dev|val|test(ing)?|eval(uation)?)($|[-_ ./0-9])"
)
# What lies beside a dataset's tables and is no text of it.
_BESIDE: Final = re.compile(r"(README|LICEN[CS]E)(\.\w+)?|dataset_infos?\.json", re.IGNORECASE)
_CARD_KEYS: Final = re.compile(r"^(configs|dataset_info):", re.MULTILINE)


def is_saved_dataset(path: Path) -> bool:
    """Whether the folder is saved by `datasets`, or holds tables with a dataset card or named splits."""
    if not path.is_dir():
        return False
    if _is_from_disk(path):
        return True
    if _has_card(path):
        return any(_TABLE.search(name) for name in _visible_files(path))
    tables = 0
    for name in _visible_files(path):
        if _TABLE.search(name) and _SPLIT.search(_TABLE.sub("", name)):
            tables += 1
        elif not _BESIDE.fullmatch(name):
            return False  # a folder of texts, such as a program's with tables for its tests
    return tables > 0


def _visible_files(path: Path) -> Iterator[str]:
    names = (file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    return (name for name in names if not name.startswith(".") and "/." not in name)


def _is_from_disk(path: Path) -> bool:
    return (path / _SAVED_DICT).is_file() or all((path / name).is_file() for name in _SAVED_DATASET)


def _has_card(path: Path) -> bool:
    """Whether README.md begins with a dataset card that says which files the data are."""
    try:
        text = (path / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False  # no README, or none that can be read: the data files speak for themselves
    card = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    return card is not None and _CARD_KEYS.search(card[1]) is not None


def open_saved_dataset(path: Path, options: SourceOptions, reporter: Reporter) -> Source:
    """The dataset in the folder `path`; raises NanoGPTError for all that fails."""
    name = readable(str(path))
    asked = Asked(repository=name, command=f"nanogpt prepare {shlex.quote(name)}", local=True)
    if options.revision is not None:
        raise UsageError(
            f"{name} is a folder, and --revision is for datasets of the Hugging Face hub", asked.command
        )
    visit = functools.partial(guests, asked, reporter)
    size_bytes: int | None = None
    with visit():
        if _is_from_disk(path):
            batches, size_bytes, column = _from_disk(path, asked, options, reporter)
        else:
            batches, column = _from_files(path, asked, options, reporter)
    return DatasetRows(
        lambda: each_within(batches(), visit),
        column=column,
        called=name,
        label=name,
        dataset_name=safe_name(path.resolve().name),
        kind="dataset",
        repeatable=True,
        size_bytes=size_bytes,
        options=options,
        reporter=reporter,
    )


def _from_disk(
    path: Path, asked: Asked, options: SourceOptions, reporter: Reporter
) -> tuple[Batches, int, str]:
    """What save_to_disk wrote: read from its Arrow files."""
    import datasets

    dataset: Any = datasets.load_from_disk(str(path))
    if isinstance(dataset, datasets.DatasetDict):
        split = choose_split(list(dataset), options, asked, reporter)
        if split not in dataset:
            raise UsageError(
                f"{split!r} is no single split of {asked.repository}",
                f"{asked.command} --split {next(iter(dataset))}",
            )
        dataset = dataset[split]
    elif options.split not in (None, str(dataset.split)):
        raise UsageError(f"{asked.repository} is a single split, {dataset.split}", asked.command)
    column = choose_text_column(kinds_of(dataset.features), options.text_column, asked.repository, reporter)
    batches, size_bytes = stored_batches(dataset, column, whole=True, max_docs=options.max_docs)
    return batches, size_bytes, column


def _from_files(path: Path, asked: Asked, options: SourceOptions, reporter: Reporter) -> tuple[Batches, str]:
    """Tables laid out as on the hub, read where they lie: they are not copied into a cache first."""
    import datasets

    try:
        builder = datasets.load_dataset_builder(str(path), options.config)
    except ValueError as error:
        # Its only way to say that a configuration has to be chosen, or does not exist.
        raise (config_error(error, asked, options) or error) from None
    split = split_of(builder, options, asked, reporter)
    column = choose_text_column(column_kinds(builder, split), options.text_column, asked.repository, reporter)
    return streamed_batches(builder, split, column), column

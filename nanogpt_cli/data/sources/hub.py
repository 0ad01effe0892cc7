"""A dataset of the Hugging Face hub, `owner/name` or `hf:owner/name`, loaded by the `datasets` library.

HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_DATASETS_CACHE and HF_HUB_OFFLINE mean what they mean there. No code of a
dataset is ever run.
"""

import functools
import re
from pathlib import Path
from typing import Any, Final

from nanogpt_cli.data.sources.base import Source, SourceOptions
from nanogpt_cli.data.sources.columns import choose_text_column
from nanogpt_cli.data.sources.dataset_choice import (
    column_kinds,
    config_error,
    converted_config,
    split_of,
)
from nanogpt_cli.data.sources.dataset_rows import (
    DatasetRows,
    read_thriftily,
    stored_batches,
    streamed_batches,
)
from nanogpt_cli.data.sources.hub_errors import Asked
from nanogpt_cli.data.sources.hub_manners import Job, each_within, guests, watched
from nanogpt_cli.data.sources.names import safe_name
from nanogpt_cli.errors import UsageError
from nanogpt_cli.events import Notice, Reporter, Warned

_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_PAGE: Final = re.compile(r"(?:https?://[^/]+/datasets/|hf://datasets/|hf:)")
# A path that was mistyped is no dataset: these ends say that a file is meant.
_FILE_ENDS: Final = re.compile(
    r"\.(txt|md|rst|html?|py|c|js|json|jsonl|ndjson|csv|tsv|parquet|arrow|pdf|docx?|log|bin|gz|zst|xz|bz2|zip)$",
    re.IGNORECASE,
)


def is_hub_name(name: str) -> bool:
    """Whether `name` is a dataset of the hub; for `owner/name` that is so where it cannot be a local path."""
    if _PAGE.match(name):
        return True
    if not _REPOSITORY.fullmatch(name) or _FILE_ENDS.search(name):
        return False
    return not Path(name).exists() and not Path(name).parent.is_dir()


def open_hub(name: str, options: SourceOptions, reporter: Reporter) -> Source:
    """The dataset `name`, downloaded unless `options.streaming`; raises NanoGPTError for all that fails."""
    repository = _repository(name)
    asked = Asked(repository=repository, command=f"nanogpt prepare {name}", revision=options.revision)
    with guests(asked, reporter):
        return _open(asked, options, reporter)


def _repository(name: str) -> str:
    repository = _PAGE.sub("", name, count=1).removesuffix("/")
    if not _REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
        raise UsageError(
            f"{name!r} is no name of a dataset on the Hugging Face hub",
            "write owner and name: nanogpt prepare hf:roneneldan/TinyStories",
        )
    if Path(repository).exists():
        raise UsageError(
            f"{repository} is also a path here, and would be taken for it",
            f"nanogpt prepare ./{repository}, or run the command in another folder",
        )
    return repository


def _open(asked: Asked, options: SourceOptions, reporter: Reporter) -> DatasetRows:
    builder = _builder(asked, options, reporter)
    split = split_of(builder, options, asked, reporter)
    kinds = column_kinds(builder, split)
    column = choose_text_column(kinds, options.text_column, asked.repository, reporter)
    size_bytes: int | None = None
    if options.streaming:
        batches = streamed_batches(builder, split, column)
    else:
        dataset = _downloaded(builder, split, asked, options, reporter)
        whole = re.fullmatch(r"[\w.-]+", split) is not None  # and not a part of it, as train[:10%]
        batches, size_bytes = stored_batches(dataset, column, whole=whole, max_docs=options.max_docs)
    config = "" if builder.config.name == "default" else str(builder.config.name)
    revision = str(builder.hash or "")[:7]
    details = ", ".join(part for part in (config, split, revision) if part)
    reporter.emit(Notice(message=f"reading {asked.repository} ({details})"))
    visit = functools.partial(guests, asked, reporter)
    return DatasetRows(
        lambda: each_within(batches(), visit),
        column=column,
        called=asked.repository,
        label=f"{asked.repository} ({details})",
        dataset_name=safe_name("-".join([asked.repository.partition("/")[2], *([config] if config else [])])),
        kind="hub",
        repeatable=not options.streaming,
        size_bytes=size_bytes,
        options=options,
        reporter=reporter,
    )


def _builder(asked: Asked, options: SourceOptions, reporter: Reporter) -> Any:
    """What `datasets` knows of the dataset and configuration, before any data are read."""
    import datasets

    folder = converted_config(asked, options)
    config = None if folder else options.config
    try:
        builder = datasets.load_dataset_builder(
            asked.repository, config, data_dir=folder, revision=options.revision
        )
    except ValueError as error:
        # Its only way to say that a configuration has to be chosen, or does not exist.
        raise (config_error(error, asked, options) or error) from None
    if type(builder).__module__.endswith(".cache.cache") and not _offline():
        message = f"{asked.repository} could not be had from the hub: the copy in {builder.cache_dir} is used"
        reporter.emit(Warned(message=message))
    others = [name for name in builder.builder_configs if name != builder.config.name]
    if options.config is None and others:
        message = f"configuration {builder.config.name}; also there: {', '.join(others[:20])} (--config)"
        reporter.emit(Notice(message=message))
    return builder


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _downloaded(builder: Any, split: str, asked: Asked, options: SourceOptions, reporter: Reporter) -> Any:
    """The dataset in the user's cache: what is there is not fetched again, and nothing is half there."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    size = builder.info.download_size
    if options.max_docs is not None and size is not None and size > 1e9:
        message = (
            f"all of {asked.repository} is downloaded, {size / 1e9:.1f} GB; --streaming reads only the first "
            f"{options.max_docs:,} documents"
        )
        reporter.emit(Notice(message=message))
    downloads = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=asked.repository, repo_type="dataset")
    jobs = [
        Job("downloading", downloads, size),
        Job("unpacking", Path(f"{builder.cache_dir}.incomplete"), builder.info.dataset_size),
    ]
    read_thriftily(builder)
    with watched(jobs, reporter):
        builder.download_and_prepare()
    return builder.as_dataset(split=split)

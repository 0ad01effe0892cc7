"""Which configuration, split and columns a dataset has, and which of them is meant."""

import difflib
import re
from pathlib import Path
from typing import Any, Final

from nanogpt_cli.data.sources.base import SourceOptions
from nanogpt_cli.data.sources.dataset_rows import kinds_of
from nanogpt_cli.data.sources.hub_errors import PARQUET_REVISION, Asked, script_error
from nanogpt_cli.errors import NanoGPTError, UsageError
from nanogpt_cli.events import Notice, Reporter

_MOST_LISTED: Final = 30
_QUOTED: Final = re.compile(r"'([^']+)'")


def config_error(error: ValueError, asked: Asked, options: SourceOptions) -> NanoGPTError | None:
    """The error for a configuration that has to be chosen or does not exist; None where it is another."""
    words = str(error)
    if re.search(r"[Cc]onfig name is missing|BuilderConfig '.*' not found|multiple .* configurations", words):
        names = _config_names(asked, words)
    elif "find cache for" in words:
        _ask_again(asked)
        cached = _QUOTED.findall(words.partition("Available configs")[2])
        return NanoGPTError(
            f"this configuration of {asked.repository} is not in the cache, only {listed(cached)}",
            f"once, with a network: HF_HUB_OFFLINE=0 {asked.command}",
        )
    else:
        return None
    if not names:
        return None
    if options.config is None:
        return UsageError(
            f"{asked.repository} has several configurations: {listed(names)}",
            f"{asked.command} --config {names[0]}",
        )
    near = difflib.get_close_matches(options.config, names, n=1) or names[:1]
    return UsageError(
        f"{asked.repository} has no configuration {options.config!r}; it has {listed(names)}",
        f"{asked.command} --config {near[0]}",
    )


def _ask_again(asked: Asked) -> None:
    """Raise why the hub did not give the dataset; looking in the cache instead, `datasets` forgets it."""
    from huggingface_hub import HfApi, constants

    if asked.local or constants.HF_HUB_OFFLINE:
        return
    info = HfApi().dataset_info(asked.repository, revision=asked.revision)
    script = f"{asked.repository.rpartition('/')[2]}.py"
    if any(file.rfilename == script for file in info.siblings or ()):
        raise script_error(asked)


def _config_names(asked: Asked, words: str) -> list[str]:
    import datasets

    try:
        names: list[str] = datasets.get_dataset_config_names(asked.repository, revision=asked.revision)
    # Offline it raises what it pleases; the error that brought us here lists them, too.
    except Exception:
        names = []
    if len(names) > 1:
        return names
    return _QUOTED.findall(words.partition("vailable")[2].partition("Example")[0])


def converted_config(asked: Asked, options: SourceOptions) -> str | None:
    """The folder of the configuration in the hub's own Parquet copy, where each configuration is a folder."""
    if options.revision != PARQUET_REVISION:
        return None
    folders = _converted_folders(asked.repository)
    command = f"{asked.command} --revision {PARQUET_REVISION}"
    if options.config is None and len(folders) > 1:
        raise UsageError(
            f"{asked.repository} has several configurations: {listed(folders)}",
            f"{command} --config {folders[0]}",
        )
    if options.config is not None and options.config not in folders:
        raise UsageError(
            f"{asked.repository} has no configuration {options.config!r}; it has {listed(folders)}",
            f"{command} --config {folders[0]}" if folders else asked.command,
        )
    return options.config or (folders[0] if folders else None)


def _converted_folders(repository: str) -> list[str]:
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.hf_api import RepoFolder

    if constants.HF_HUB_OFFLINE:
        folder = Path(snapshot_download(repository, repo_type="dataset", revision=PARQUET_REVISION))
        return sorted(path.name for path in folder.iterdir() if path.is_dir())
    entries = HfApi().list_repo_tree(repository, repo_type="dataset", revision=PARQUET_REVISION)
    return [entry.path for entry in entries if isinstance(entry, RepoFolder)]


def split_of(builder: Any, options: SourceOptions, asked: Asked, reporter: Reporter) -> str:
    """The split to read: the one asked for, else train, else the only one; others are mentioned."""
    return choose_split(split_names(builder), options, asked, reporter)


def choose_split(names: list[str], options: SourceOptions, asked: Asked, reporter: Reporter) -> str:
    """`split_of` where the names are known."""
    if options.split is not None:
        return _split_asked(options, names, asked)
    if "train" not in names and len(names) != 1:
        raise UsageError(
            f"{asked.repository} has several splits and none is called train: {listed(names)}",
            f"{asked.command} --split {names[0]}" if names else f"{asked.command} --split NAME",
        )
    chosen = "train" if "train" in names else names[0]
    others = [name for name in names if name != chosen]
    if others:
        reporter.emit(Notice(message=f"split {chosen}; also there: {listed(others)} (--split chooses)"))
    return chosen


def split_names(builder: Any) -> list[str]:
    """The splits of a builder's configuration, known before any data are read."""
    names = builder.config.data_files or builder.info.splits or builder.as_streaming_dataset()
    return [str(name) for name in names]


def _split_asked(options: SourceOptions, names: list[str], asked: Asked) -> str:
    split = options.split or ""
    parts = [re.sub(r"\[.*\]|\(.*\)", "", part).strip() for part in split.split("+")]
    for part in parts:
        if part not in names and part != "all":
            near = difflib.get_close_matches(part, names, n=1, cutoff=0.4) or names[:1]
            raise UsageError(
                f"{asked.repository} has no split {part!r}; it has {listed(names)}",
                f"{asked.command} --split {near[0]}" if near else asked.command,
            )
    if options.streaming and "[" in split:
        raise UsageError(
            f"--streaming cannot cut a split, as {split!r} asks for",
            f"{asked.command} --split {parts[0]} --streaming --max-docs 1000",
        )
    return split


def column_kinds(builder: Any, split: str) -> dict[str, str]:
    """What each column holds; where the dataset does not say so itself, the start of its data does."""
    if builder.info.features:
        return kinds_of(builder.info.features)
    first = re.split(r"[+\[(]", split)[0].strip()
    dataset = builder.as_streaming_dataset(split=first)
    features = dataset.features or dataset._resolve_features().features
    return kinds_of(features)


def listed(names: list[str]) -> str:
    """Names in a sentence, not too many of them."""
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more

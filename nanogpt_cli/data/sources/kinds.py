"""What a name on the command line stands for, and which options that leaves without a use."""

import difflib
import enum
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nanogpt_cli.data.sources.base import SourceOptions
from nanogpt_cli.data.sources.hub import is_hub_name
from nanogpt_cli.data.sources.patterns import is_glob, split_glob
from nanogpt_cli.data.sources.python_docs import PYTHON_DOCS
from nanogpt_cli.data.sources.saved_dataset import is_saved_dataset
from nanogpt_cli.data.sources.shakespeare import SHAKESPEARE
from nanogpt_cli.data.sources.table_file import table_suffix_of
from nanogpt_cli.data.sources.text_file import STDIN, empty_file, special_file
from nanogpt_cli.data.sources.walk import maker_of
from nanogpt_cli.errors import NanoGPTError, UsageError


class Kind(enum.Enum):
    """How a source is read."""

    STDIN = enum.auto()
    BUILTIN = enum.auto()
    TEXT = enum.auto()
    TABLE = enum.auto()
    FOLDER = enum.auto()
    GLOB = enum.auto()
    SAVED_DATASET = enum.auto()
    HUB = enum.auto()


_FILES: Final = {Kind.FOLDER, Kind.GLOB}
_DATASETS: Final = {Kind.SAVED_DATASET, Kind.HUB}
_TEXTS: Final = {Kind.STDIN, Kind.TEXT, Kind.TABLE} | _FILES
# Each option that not every source has a use for: its flag, the kinds that have one, and what they are.
_USES: Final = (
    ("include", "--include", _FILES, "the files of a folder"),
    ("exclude", "--exclude", _FILES, "the files of a folder"),
    ("encoding", "--encoding", _TEXTS, "texts in files"),
    ("errors", "--errors", _TEXTS | _DATASETS, "texts and tables"),
    ("text_column", "--text-column", {Kind.TABLE} | _FILES | _DATASETS, "tables: .jsonl, .csv, .parquet"),
    ("config", "--config", _DATASETS, "datasets of Hugging Face"),
    ("revision", "--revision", {Kind.HUB}, "datasets of the Hugging Face hub"),
    ("streaming", "--streaming", {Kind.HUB}, "datasets of the Hugging Face hub"),
    ("split", "--split", _DATASETS, "datasets of Hugging Face"),
)


def kind_of(name: str, options: SourceOptions, *, flag: str | None = None) -> Kind:
    """What `name` is; raises NanoGPTError where nothing can be read under it.

    `flag` is the one it was given with, where it is no source to be named first.
    """
    if name == STDIN:
        return Kind.STDIN
    if name in (PYTHON_DOCS, SHAKESPEARE):
        return Kind.BUILTIN
    path = Path(name)
    if os.path.lexists(path):
        return _kind_of_path(path, options)
    if is_hub_name(name):
        return Kind.HUB
    if is_glob(name) and Path(split_glob(name)[0]).is_dir():
        return Kind.GLOB
    raise NanoGPTError(f"there is no file {path}", _missing_hint(path, flag))


def refuse_unused(options: SourceOptions, kinds: Sequence[Kind], names: Sequence[str]) -> None:
    """Raise UsageError for an option that no source has a use for: it would be ignored in silence."""
    usual = SourceOptions()
    for field, flag, using, what in _USES:
        if getattr(options, field) != getattr(usual, field) and using.isdisjoint(kinds):
            raise UsageError(
                f"{flag} is for {what}; {' '.join(names)} has no use for it", f"leave {flag} out"
            )


def _kind_of_path(path: Path, options: SourceOptions) -> Kind:
    quoted = shlex.quote(str(path))
    try:
        state = path.stat()
    except OSError:
        raise NanoGPTError(
            f"{path} is a link to nowhere, or a circle of links", f"see where it goes: ls -l {quoted}"
        ) from None
    if path.is_dir():
        # Whoever gives globs wants files, also where they could be read as a dataset.
        if not (options.include or options.exclude) and is_saved_dataset(path):
            return Kind.SAVED_DATASET
        if maker := maker_of(path):
            raise NanoGPTError(
                f"{path} is {maker}, not a folder of texts",
                f"train on it: nanogpt train --dataset {quoted}"
                if maker == "a prepared dataset"
                else "give the folder or file that holds the texts",
            )
        return Kind.FOLDER
    if not path.is_file():
        raise special_file(path)
    if state.st_size == 0:
        raise empty_file(path)
    return Kind.TABLE if table_suffix_of(path) else Kind.TEXT


def _missing_hint(path: Path, flag: str | None) -> str:
    folder = path.parent
    texts = sorted(p.name for p in folder.iterdir() if p.is_file()) if folder.is_dir() else []
    near = difflib.get_close_matches(path.name, texts, n=1)
    if not flag:  # any text is a start, but none validates that was not meant to
        near = near or [name for name in texts if name.endswith(".txt")][:1]
    if near and flag:
        return f"{flag} {shlex.quote(str(folder / near[0]))}"
    if flag:
        return f"check the path that {flag} gives, or leave {flag} out: a share of the text validates then"
    if near:
        return f"nanogpt prepare {shlex.quote(str(folder / near[0]))} --tokenizer char"
    return "check the path, or start with the built-in corpus: nanogpt prepare python-docs --tokenizer char"

"""Put a newly prepared dataset in place: as a whole new folder, or file by file into one that exists.

A folder that exists may hold the user's own files, so it is never replaced as a whole. Before its first file
changes, a marker is written that makes `open_dataset` refuse the folder; it is removed after the last one. A
crash in between leaves a folder that says what happened, never one that mixes two datasets.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nanogpt_cli import files
from nanogpt_cli.data.dataset import INTERRUPTED_MARKER
from nanogpt_cli.data.meta import META_JSON
from nanogpt_cli.data.nanogpt_folder import META_PKL
from nanogpt_cli.data.tokenizers import TOKENIZER_FILE
from nanogpt_cli.data.verify import STAMP_FILE

# In the order of replacement. meta.json comes last, as everywhere.
DATASET_FILES: Final = ("train.bin", "val.bin", TOKENIZER_FILE, META_PKL, META_JSON)


def holds_dataset(folder: Path) -> bool:
    """Whether any file that a dataset consists of is in `folder`."""
    return any((folder / name).exists() for name in DATASET_FILES)


def install(target: Path, build: Callable[[Path], None], command: str) -> None:
    """Let `build` fill a temporary folder, then make its files the dataset `target`.

    `command` is what the user types to finish an interrupted replacement. When `build` fails, nothing of
    `target` has changed.
    """
    if not target.exists():
        with files.new_directory(target) as folder:
            build(folder)
        return
    # Inside the target, because that may be a link to, or a mount of, another file system: only within one
    # can files be renamed into place.
    with tempfile.TemporaryDirectory(dir=target, prefix=files.TEMPORARY_PREFIX) as name:
        folder = Path(name)
        build(folder)
        for path in sorted(folder.iterdir()):
            files.fsync_file(path)
        _replace_files(folder, target, command)


def _replace_files(new: Path, target: Path, command: str) -> None:
    marker = target / INTERRUPTED_MARKER
    files.write_atomic(marker, command + "\n")
    (target / STAMP_FILE).unlink(missing_ok=True)
    for name in DATASET_FILES:
        if (new / name).exists():
            (new / name).replace(target / name)
        else:
            (target / name).unlink(missing_ok=True)  # an old meta.pkl would lie about new gpt2 tokens
    files.fsync_directory(target)
    marker.unlink()
    files.fsync_directory(target)

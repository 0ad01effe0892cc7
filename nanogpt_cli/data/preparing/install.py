"""Put a newly prepared dataset in place: as a whole new folder, or file by file into one that exists.

A folder that exists may hold the user's own files, so it is never replaced as a whole. Before its first file
changes, a marker is written that makes `open_dataset` refuse the folder; it is removed after the last one. A
crash in between leaves a folder that says what happened, never one that mixes two datasets.
"""

from pathlib import Path
from typing import Final

from nanogpt_cli import files
from nanogpt_cli.data.discovery import INTERRUPTED_MARKER
from nanogpt_cli.data.meta import META_JSON
from nanogpt_cli.data.nanogpt_folder import META_PKL
from nanogpt_cli.data.tokenizers.base import TOKENIZER_FILE
from nanogpt_cli.data.verify import STAMP_FILE

# In the order of replacement. meta.json comes last, as everywhere.
DATASET_FILES: Final = ("train.bin", "val.bin", TOKENIZER_FILE, META_PKL, META_JSON)


def holds_dataset(folder: Path) -> bool:
    """Whether any file that a dataset consists of is in `folder`."""
    return any((folder / name).exists() for name in DATASET_FILES)


def install(target: Path, new: Path, command: str) -> None:
    """Make the files in the folder `new`, on the same file system, the dataset `target`.

    `command` is what the user types to finish an interrupted replacement. `new` holds nothing else, and is
    gone afterwards where `target` did not exist.
    """
    for path in sorted(new.iterdir()):
        files.fsync_file(path)
    files.fsync_directory(new)
    if target.exists():
        _replace_files(new, target, command)
    else:
        new.rename(target)
        files.fsync_directory(target.parent)


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

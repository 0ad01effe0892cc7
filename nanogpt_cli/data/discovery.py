"""Which folders are datasets: the one a name means, the newest one, and never an unfinished one."""

import difflib
from pathlib import Path
from typing import Final

from nanogpt_cli import files
from nanogpt_cli.data.meta import META_JSON
from nanogpt_cli.data.shards import shard_paths
from nanogpt_cli.errors import NanoGPTError

# Present while the files of an existing dataset are being replaced; holds the command that finishes the job.
INTERRUPTED_MARKER: Final = ".preparing"
_TRY = "nanogpt prepare input.txt --tokenizer char"
# What nanoGPT's data/*/prepare.py make, and its config files ask for.
_NANOGPTS: Final = {
    "shakespeare_char": "nanogpt prepare shakespeare --tokenizer char --name shakespeare_char",
    "shakespeare": "nanogpt prepare shakespeare --tokenizer gpt2",
    "openwebtext": "nanogpt prepare Skylion007/openwebtext --tokenizer gpt2 --name openwebtext",
}


def newest_dataset(root: Path = Path("data")) -> str:
    """The name of the only, or else the newest, dataset under `root`."""
    found = _known(root)
    if not found:
        raise NanoGPTError(f"there is no prepared dataset under {root}/", _TRY)
    return max(found, key=lambda name: found[name])


def find_dataset(name_or_path: str, root: Path) -> Path:
    """The folder `root/<name>`, or the one at a path; raises NanoGPTError where there is none."""
    for folder in (root / name_or_path, Path(name_or_path)):
        if folder.is_dir():
            _check_finished(folder)
            return folder
    if Path(name_or_path).is_file():
        raise NanoGPTError(
            f"{name_or_path} is a file, not a prepared dataset",
            f"prepare it first: nanogpt prepare {name_or_path} --tokenizer char",
        )
    if name_or_path in _NANOGPTS:
        raise NanoGPTError(
            f"there is no dataset {name_or_path!r} under {root}/", how_to_prepare(name_or_path)
        )
    known = sorted(_known(root))
    near = next(iter(difflib.get_close_matches(name_or_path, known, n=1)), known[0]) if known else ""
    raise NanoGPTError(
        f"there is no dataset {name_or_path!r} under {root}/",
        f"nanogpt train --dataset {near}, or another of: {', '.join(known)}" if known else _TRY,
    )


def how_to_prepare(name: str) -> str:
    """The command that makes a dataset of this name: what nanoGPT's own are made of is known."""
    return _NANOGPTS.get(name, f"nanogpt prepare input.txt --tokenizer char --name {name}")


def _check_finished(folder: Path) -> None:
    """Raise where the files of `folder` are half old, half new, or were never whole."""
    marker = folder / INTERRUPTED_MARKER
    if marker.exists():
        command = marker.read_text(encoding="utf-8", errors="replace").strip()
        raise NanoGPTError(
            f"the preparation of {folder} was interrupted; its files are not whole",
            command or "run the same nanogpt prepare command again",
        )
    if folder.name.startswith(files.TEMPORARY_PREFIX):
        raise NanoGPTError(
            f"{folder} is a preparation that was not finished, not a dataset",
            "run the same nanogpt prepare command again",
        )


def _known(root: Path) -> dict[str, int]:
    """Names of the datasets under `root`, and when each was made, in nanoseconds."""
    found = {}
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if folder.name.startswith(".") or not folder.is_dir():
            continue  # .tmp-… is a dataset that is being made, or never was finished
        signs = [folder / name for name in (INTERRUPTED_MARKER, META_JSON, "train.bin")]
        present = [path for path in signs if path.is_file()] or shard_paths(folder)
        if present:
            found[folder.name] = present[0].stat().st_mtime_ns
    return found

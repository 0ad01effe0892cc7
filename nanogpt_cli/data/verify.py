"""Notice every change of a dataset's token files, without reading gigabytes at every start.

The first look at a file reads it whole (SHA-256 and largest id) and keeps the result in `.verified.json`
beside it, together with the file's size, mtime and ctime in nanoseconds. Later looks read it again only if
one of these changed. Whatever writes to a file renews its ctime, and no program can set that back, so a
change that restores the mtime is noticed as well; a copied dataset is read once more. Where the folder cannot
be written to, a cluster's shared data for example, the result is kept in the user's cache folder.
"""

import hashlib
import json
import time
from pathlib import Path
from typing import Final

import numpy as np

from nanogpt_cli import files
from nanogpt_cli.data.binfile import Scan, scan
from nanogpt_cli.events import Reporter

STAMP_FILE: Final = ".verified.json"
# A file changed this recently may change again within one tick of the file system's clock, and the stamp
# would not tell: such a file is read each time (git's "racy" problem, git/Documentation/technical/racy-git).
_SETTLED_NS: Final = 2_000_000_000


def scan_once(path: Path, dtype: np.dtype, reporter: Reporter, *, header_bytes: int = 0) -> Scan:
    """`scan(path, dtype)`, from the stamp where the file has not been touched since."""
    stamp = _identity(path)
    look = [*stamp, dtype.itemsize, header_bytes]
    places = (path.parent / STAMP_FILE, _cached(path.parent))
    for place in places:
        match _read(place).get(path.name, []):
            case [*known, str() as sha256, int() as max_id] if known == look:
                return Scan(sha256=sha256, max_id=max_id)
    result = scan(path, dtype, reporter, header_bytes=header_bytes)
    _, mtime_ns, ctime_ns = stamp
    if _identity(path) == stamp and time.time_ns() - max(mtime_ns, ctime_ns) > _SETTLED_NS:
        for place in places:
            if _write(place, {**_read(place), path.name: [*look, result.sha256, result.max_id]}):
                break
    return result


def _cached(folder: Path) -> Path:
    """Where the stamps of a folder lie that cannot be written to."""
    name = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return files.cache_dir() / "verified" / f"{name}.json"


def _identity(path: Path) -> tuple[int, int, int]:
    info = path.stat()
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns


def _read(place: Path) -> dict[str, list[int | str]]:
    try:
        document = json.loads(place.read_text(encoding="utf-8"))
        return {str(name): list(entry) for name, entry in document.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # a stamp only saves time


def _write(place: Path, stamps: dict[str, list[int | str]]) -> bool:
    """Whether the stamps could be kept there; where nowhere, the dataset is verified at every start."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(place, stamps)
    except OSError:
        return False
    return True

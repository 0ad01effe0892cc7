"""Notice every change of a dataset's token files, without reading gigabytes at every start.

The first look at a file reads it whole (SHA-256 and largest id) and keeps the result in `.verified.json`
beside it, together with the file's size, mtime and ctime in nanoseconds. Later looks read it again only if
one of these changed. Whatever writes to a file renews its ctime, and no program can set that back, so a
change that restores the mtime is noticed as well; a copied dataset is read once more.
"""

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
    stamps = _read(path.parent)
    stamp = _identity(path)
    layout = [dtype.itemsize, header_bytes]
    known = stamps.get(path.name)
    if known and known[:5] == [*stamp, *layout]:
        return Scan(sha256=str(known[5]), max_id=int(known[6]))
    result = scan(path, dtype, reporter, header_bytes=header_bytes)
    _, mtime_ns, ctime_ns = stamp
    if _identity(path) == stamp and time.time_ns() - max(mtime_ns, ctime_ns) > _SETTLED_NS:
        stamps[path.name] = [*stamp, *layout, result.sha256, result.max_id]
        _write(path.parent, stamps)
    return result


def _identity(path: Path) -> tuple[int, int, int]:
    info = path.stat()
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns


def _read(folder: Path) -> dict[str, list[int | str]]:
    try:
        document = json.loads((folder / STAMP_FILE).read_text(encoding="utf-8"))
        return {str(name): list(entry) for name, entry in document.items() if len(entry) == 7}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # a stamp only saves time


def _write(folder: Path, stamps: dict[str, list[int | str]]) -> None:
    try:
        files.write_json(folder / STAMP_FILE, stamps)
    except OSError:
        return  # a read-only dataset is verified at every start

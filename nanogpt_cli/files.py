"""Files that are whole or not there: atomic writes, atomic folders, checksums, and where templates live.

The order that survives a crash at any point: write under a temporary name in the same folder, flush, fsync,
rename over the target, fsync the folder (https://lwn.net/Articles/457667/).
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"
_HASH_CHUNK_BYTES = 1 << 20


def write_atomic(path: Path, data: str | bytes) -> None:
    """Replace `path` by `data` (text as UTF-8) so that a reader sees the old file or the new one."""
    raw = data.encode("utf-8") if isinstance(data, str) else data
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY_PREFIX)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes it private; a dataset is for the whole team
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


def write_json(path: Path, document: object) -> None:
    """`write_atomic` for a JSON document, indented for people, non-ASCII text kept as it is."""
    write_atomic(path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def new_directory(target: Path) -> Iterator[Path]:
    """Yield a temporary sibling folder that becomes `target` when the block ends without an error.

    Every file in it is fsynced before the rename. `target` must not exist. After an error nothing is left.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f"{TEMPORARY_PREFIX}{target.name}-"))
    try:
        make_public(temporary)
        yield temporary
        for path in sorted(temporary.rglob("*")):
            if path.is_file():
                fsync_file(path)
        for folder in sorted((p for p in temporary.rglob("*") if p.is_dir()), reverse=True):
            fsync_directory(folder)
        fsync_directory(temporary)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    fsync_directory(target.parent)


def make_public(folder: Path) -> None:
    """Give a folder that mkdtemp made private the permissions that any new folder gets."""
    folder.chmod(0o777 & ~_umask())


def fsync_file(path: Path) -> None:
    """Force the content of `path` to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def fsync_directory(path: Path) -> None:
    """Force the names in folder `path` to the disk; Windows has no such call and keeps them itself."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's content, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def cache_dir() -> Path:
    """Where downloads and measurements are kept for later runs; the folder may not exist yet."""
    if configured := os.environ.get("NANOGPT_CACHE_DIR"):
        return Path(configured)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "nanogpt"
    try:
        return Path.home() / ".cache" / "nanogpt"
    except RuntimeError:  # a container's user without a home
        return Path(tempfile.gettempdir()) / "nanogpt"


def templates_dir() -> Path:
    """The folder `templates/`: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "templates", package.parent / "templates"):
        if (candidate / "presets").is_dir():
            return candidate
    raise AssertionError(f"templates/ is missing beside {package}: the installation is incomplete")


def _umask() -> int:
    # The umask can only be read by setting it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask

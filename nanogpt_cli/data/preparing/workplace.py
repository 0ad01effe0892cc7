"""The temporary folder a dataset is made in, and what is left of it when a preparation is interrupted.

It lies beside the dataset to be, or inside one that exists (which may be a link to another disk: only within
one file system can files be renamed into place). Nobody takes it for a dataset: its name begins with a dot.
A lock inside tells the folder of a living process from one that was left behind.
"""

import contextlib
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from nanogpt_cli import files
from nanogpt_cli.data.preparing.lock import try_lock
from nanogpt_cli.errors import NanoGPTError

LOCK_FILE: Final = "lock"
# A folder without a lock may be just being made, or just being put into place, by a living process.
_UNLOCKED_AGE_SECONDS: Final = 3600


class PointlessToResumeError(NanoGPTError):
    """Trying again from where it stopped would end in the same error."""


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """The folder of a dead preparation; it is ours as long as `lock` is open."""

    path: Path
    lock: IO[bytes]

    def remove(self) -> None:
        """Delete it with all that is in it."""
        self.lock.close()
        shutil.rmtree(self.path, ignore_errors=True)


class Workplace:
    """Where the dataset `target` is being made; removed on an error, unless it is worth keeping."""

    def __init__(self, target: Path) -> None:
        self.resumable = False  # whether an interrupted job can go on from what is in here
        self._target = target
        self._path: Path | None = None
        self._lock: IO[bytes] | None = None
        self._new_parents: list[Path] = []

    @property
    def folder(self) -> Path:
        """The folder, made on first use."""
        if self._path is None:
            parent = self._target if self._target.exists() else self._target.parent
            missing = [path for path in (parent, *parent.parents) if not path.exists()]
            parent.mkdir(parents=True, exist_ok=True)
            self._new_parents = missing
            self._path = Path(tempfile.mkdtemp(dir=parent, prefix=self._prefix))
            self._lock = try_lock(self._path / LOCK_FILE)
            files.make_public(self._path)
        return self._path

    def adopt(self, leftover: Leftover) -> None:
        """Go on in the folder of a dead preparation."""
        self._path, self._lock, self.resumable = leftover.path, leftover.lock, True

    def leftovers(self) -> list[Leftover]:
        """What dead preparations of the same dataset have left."""
        found = []
        for parent in (self._target, self._target.parent):
            for path in sorted(parent.glob(".tmp-*")) if parent.is_dir() else []:
                name = path.name.removeprefix(self._prefix)
                if name != path.name and re.fullmatch(r"[a-z0-9_]{8}", name) and path.is_dir():
                    found += [Leftover(path=path, lock=lock)] if (lock := _lock_of_the_dead(path)) else []
        return found

    def release(self) -> None:
        """Let go of the lock, before the folder is put into place."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
            (self.folder / LOCK_FILE).unlink(missing_ok=True)

    @property
    def _prefix(self) -> str:
        return f"{files.TEMPORARY_PREFIX}{self._target.name}-"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            self._lock.close()
        if self.resumable and error is not None and not isinstance(error, PointlessToResumeError):
            return
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
        if error is not None:
            for parent in self._new_parents:
                with contextlib.suppress(OSError):  # somebody else uses it by now
                    parent.rmdir()


def _lock_of_the_dead(folder: Path) -> IO[bytes] | None:
    try:
        if not (folder / LOCK_FILE).exists():
            newest = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            if time.time() - newest < _UNLOCKED_AGE_SECONDS:
                return None
        return try_lock(folder / LOCK_FILE)
    except OSError:
        return None  # it has just gone, or belongs to somebody else

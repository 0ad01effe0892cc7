"""Faults of a disk, injected into a save: at the n-th write, fsync, rename or removal."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nanogpt_cli.engine import checkpoint as module


class Killed(BaseException):
    """Stands for a process that ends here."""


def no_space() -> OSError:
    """What a full disk answers."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only() -> OSError:
    """What a disk answers that was mounted anew after a fault."""
    return OSError(errno.EROFS, os.strerror(errno.EROFS))


class Killer:
    """Ends the process at the n-th operation on the disk: it is half done, and no later one happens.

    `fault` makes the exception, or ends the process itself; a `passing` one is over after that operation.
    """

    def __init__(
        self, at: int, fault: Callable[[], BaseException] = Killed, *, passing: bool = False
    ) -> None:
        self.at = at
        self.fault = fault
        self.passing = passing
        self.done = 0
        self.dead = False

    def strike(self) -> bool:
        """Whether this operation is the one that is cut; from then on all raise."""
        if self.dead and not self.passing:
            raise self.fault()
        self.done += 1
        self.dead = self.dead or self.done == self.at
        return self.done == self.at

    def wrap(
        self, real: Callable[..., Any], halfway: Callable[..., None] | None = None
    ) -> Callable[..., Any]:
        """`real`, or `halfway` and the end when the moment has come."""

        def call(*args: Any, **options: Any) -> Any:
            if self.strike():
                if halfway is not None:
                    halfway(*args, **options)
                raise self.fault()
            return real(*args, **options)

        return call


@contextlib.contextmanager
def killing(
    at: int,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[], BaseException] = Killed,
    *,
    passing: bool = False,
) -> Iterator[Killer]:
    """Every write, fsync, rename and removal of a save counts as one operation."""
    killer = Killer(at, fault, passing=passing)
    real_write_text, real_rmtree = Path.write_text, shutil.rmtree

    def half_a_text(path: Path, data: str, **options: Any) -> None:
        real_write_text(path, data[: len(data) // 2], **options)

    def half_a_file(_tensors: dict[str, torch.Tensor], path: Path) -> None:
        path.write_bytes(b"\x10\0\0\0")

    def half_a_folder(path: Path, **_options: Any) -> None:
        if path.is_dir():
            sorted(path.iterdir())[0].unlink()

    def rmtree(path: Path, **options: Any) -> None:
        if fault is not Killed:  # an error is survived, and what is left over is taken away
            real_rmtree(path, **options)
        elif not killer.dead:  # a process that was killed cleans nothing up
            killer.wrap(real_rmtree, half_a_folder)(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killer.wrap(os.fsync))
        patch.setattr(Path, "rename", killer.wrap(Path.rename))
        patch.setattr(Path, "replace", killer.wrap(Path.replace))
        patch.setattr(Path, "write_text", killer.wrap(real_write_text, half_a_text))
        patch.setattr(module, "save_file", killer.wrap(module.save_file, half_a_file))
        patch.setattr(tempfile, "mkdtemp", killer.wrap(tempfile.mkdtemp))
        patch.setattr(shutil, "rmtree", rmtree)
        yield killer

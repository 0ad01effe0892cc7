"""A save and a removal killed at every write, fsync and rename: what is left is complete or not there."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nanogpt_cli.engine import checkpoint as module
from nanogpt_cli.engine.checkpoint import list_checkpoints, read_checkpoint, remove_old_checkpoints
from tests.engine.checkpoints import flip_last_byte, save, trained
from tests.engine.tiny import assert_same_tensors, build_trainer, snapshot


class Killed(BaseException):
    """Stands for a process that ends here."""


class Killer:
    """Ends the process at the n-th operation on the disk: it is half done, and no later one happens."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.done = 0
        self.dead = False

    def strike(self) -> bool:
        """Whether this operation is the one that is cut; from then on all raise."""
        if self.dead:
            raise Killed
        self.done += 1
        self.dead = self.done == self.at
        return self.dead

    def wrap(
        self, real: Callable[..., Any], halfway: Callable[..., None] | None = None
    ) -> Callable[..., Any]:
        """`real`, or `halfway` and the end when the moment has come."""

        def call(*args: Any, **options: Any) -> Any:
            if self.strike():
                if halfway is not None:
                    halfway(*args, **options)
                raise Killed
            return real(*args, **options)

        return call


@contextlib.contextmanager
def killing(at: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Killer]:
    """Every write, fsync, rename and removal of a save counts as one operation."""
    killer = Killer(at)
    real_write_text, real_rmtree = Path.write_text, shutil.rmtree

    def half_a_text(path: Path, data: str, **options: Any) -> None:
        real_write_text(path, data[: len(data) // 2], **options)

    def half_a_file(_tensors: dict[str, torch.Tensor], path: Path) -> None:
        path.write_bytes(b"\x10\0\0\0")

    def half_a_folder(path: Path, **_options: Any) -> None:
        if path.is_dir():
            sorted(path.iterdir())[0].unlink()

    def rmtree(path: Path, **options: Any) -> None:
        if not killer.dead:  # a process that was killed cleans nothing up
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


def killed_at_each_operation(
    job: Callable[[], object], monkeypatch: pytest.MonkeyPatch, prepare: Callable[[], object]
) -> Iterator[int]:
    """Run `job` again and again, killed one operation later each time, until it comes through."""
    for at in range(1, 100):
        prepare()
        with killing(at, monkeypatch) as killer:
            try:
                job()
            except Killed:
                assert killer.dead
            else:
                assert at > 5, "hardly anything was counted: the patches no longer meet the code"
                return
        yield at
    pytest.fail("the job never came through")


def test_a_save_killed_anywhere_leaves_only_complete_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trained(tmp_path)
    older, newer = save(trainer, 2), tmp_path / "checkpoints" / "iter_00000003"
    outcomes = set()
    for _ in killed_at_each_operation(
        lambda: save(trainer, 3), monkeypatch, lambda: shutil.rmtree(newer, ignore_errors=True)
    ):
        found = list_checkpoints(tmp_path)
        assert found in ([older], [older, newer])
        outcomes.add(len(found))
        restored = build_trainer(tmp_path, trainer.config, checkpoint=read_checkpoint(found[-1]))
        assert_same_tensors(snapshot(restored), snapshot(trainer))
    assert outcomes == {1, 2}  # killed before the rename, and between it and the last fsync
    assert save(trainer, 3) == newer  # what the killed ones left behind does not stand in the way


def test_retention_killed_anywhere_leaves_the_best_and_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trained(tmp_path)

    def eight() -> None:
        for iter_num in (1, 2, 3, 4, 5, 6, 7, 8):
            save(trainer, iter_num, val_loss=abs(iter_num - 2) + 1.0)

    seen = set()
    for _ in killed_at_each_operation(lambda: remove_old_checkpoints(tmp_path, keep=2), monkeypatch, eight):
        names = [path.name for path in list_checkpoints(tmp_path)]
        assert {"iter_00000002", "iter_00000007", "iter_00000008"} <= set(names)
        for path in (tmp_path / "checkpoints").glob("iter_*"):
            read_checkpoint(path)  # raises for one that was half deleted
        seen.add(len(names))
    assert seen == {3, 4, 5, 6, 7, 8}


def test_replacing_a_damaged_checkpoint_killed_anywhere_keeps_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trained(tmp_path)
    older = save(trainer, 2)
    newer = save(trainer, 3)

    def damage() -> None:
        save(trainer, 3)
        flip_last_byte(newer / "optim.safetensors")

    for _ in killed_at_each_operation(lambda: save(trainer, 3), monkeypatch, damage):
        read_checkpoint(older)


def test_an_error_while_saving_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unlike a kill, an error is survived, so the folder is clean afterwards."""
    trainer = trained(tmp_path)
    older = save(trainer, 2)

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            save(trainer, 3)
    assert list((tmp_path / "checkpoints").iterdir()) == [older]


def test_a_full_disk_met_by_safetensors_is_an_oserror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trained(tmp_path)

    def full(*_args: object) -> None:
        raise module.SafetensorError("Error while serializing: I/O error: No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save(trainer, 3)

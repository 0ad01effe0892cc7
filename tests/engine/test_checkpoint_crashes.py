"""A save and a removal killed at every write, fsync and rename: what is left is complete or not there."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nanogpt_cli.engine import checkpoint as module
from nanogpt_cli.engine.checkpoint import list_checkpoints, read_checkpoint, remove_old_checkpoints
from tests.engine.checkpoints import flip_last_byte, save, trained
from tests.engine.disk_faults import Killed, killing
from tests.engine.tiny import assert_same_tensors, build_trainer, snapshot


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


def test_replacing_an_intact_checkpoint_killed_anywhere_loses_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only checkpoint of a run, saved again because its weights have been evaluated since."""
    trainer = trained(tmp_path)
    folder = tmp_path / "checkpoints"

    def not_evaluated() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        save(trainer, 3)

    def replace() -> None:
        save(trainer, 3, val_loss=1.5)
        remove_old_checkpoints(tmp_path, keep=2)

    outcomes = set()
    for _ in killed_at_each_operation(replace, monkeypatch, not_evaluated):
        newest = read_checkpoint(list_checkpoints(tmp_path)[-1])
        restored = build_trainer(tmp_path, trainer.config, checkpoint=newest)
        assert_same_tensors(snapshot(restored), snapshot(trainer))
        outcomes.add(newest.own_val_loss)
    assert outcomes == {None, 1.5}
    assert [path.name for path in list_checkpoints(tmp_path)] == ["iter_00000003"]


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

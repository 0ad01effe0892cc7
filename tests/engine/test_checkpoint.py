"""Checkpoints are complete or not there, whatever happens while one is written."""

import contextlib
import dataclasses
import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nanogpt_cli.engine import checkpoint as module
from nanogpt_cli.engine.checkpoint import (
    best_checkpoint,
    build_model,
    is_complete,
    list_checkpoints,
    read_checkpoint,
    remove_old_checkpoints,
    save_checkpoint,
)
from nanogpt_cli.engine.trainer import Trainer
from nanogpt_cli.errors import NanoGPTError
from tests.engine.tiny import CPU, DATASET, assert_same_tensors, build_trainer, snapshot, tiny_config

FILES = ["model.safetensors", "optim.safetensors", "state.json"]


def trained(run_dir: Path, iters: int = 3, **changes: Any) -> Trainer:
    """A trainer whose optimizer has moments; nothing is saved yet."""
    trainer = build_trainer(run_dir, tiny_config(**changes))
    for iter_num in range(iters):
        trainer.train_iteration(iter_num)
    return trainer


def save(trainer: Trainer, iter_num: int, val_loss: float | None = None) -> Path:
    """A checkpoint of the trainer's weights as that of `iter_num`, with a val loss of its own if given."""
    state = dataclasses.replace(trainer.state, iter_num=iter_num)
    if val_loss is not None:
        state = dataclasses.replace(state, last_eval_iter=iter_num, val_loss=val_loss, train_loss=val_loss)
    return save_checkpoint(trainer.run_dir, trainer.raw_model, trainer.optimizer, state, DATASET)


# --- Round trip


@pytest.mark.parametrize("bias", [True, False])
def test_everything_comes_back_bit_by_bit(bias: bool, tmp_path: Path) -> None:
    trainer = trained(tmp_path, bias=bias)
    trainer.state.scaler = {"scale": 65536.0, "growth_factor": 2.0}
    path = save(trainer, 3, val_loss=1.25)
    assert path == tmp_path / "checkpoints" / "iter_00000003"
    found = read_checkpoint(path)
    assert found.model == trainer.raw_model.config
    assert found.state == dataclasses.replace(trainer.state, last_eval_iter=3, val_loss=1.25, train_loss=1.25)
    assert found.dataset == DATASET
    assert found.own_val_loss == 1.25
    restored = build_trainer(tmp_path, trainer.config, checkpoint=found)
    tensors = snapshot(trainer)
    assert any(name.endswith("/exp_avg_sq") for name in tensors)
    assert_same_tensors(snapshot(restored), tensors)


def test_the_val_loss_of_older_weights_is_not_its_own(tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    trainer.state.last_eval_iter, trainer.state.val_loss = 1, 0.5
    assert read_checkpoint(save(trainer, 3)).own_val_loss is None


def test_nothing_is_pickled(tmp_path: Path) -> None:
    """Every file is safetensors or JSON by its content, and none can be read by pickle."""
    path = save(trained(tmp_path), 3)
    assert sorted(p.name for p in path.iterdir()) == sorted([*FILES, "COMPLETE"])
    for name in ("state.json", "COMPLETE"):
        json.loads((path / name).read_text(encoding="utf-8"))
    for name in FILES[:2]:
        assert load_file(path / name)
    for file in path.iterdir():
        with (
            file.open("rb") as stream,
            pytest.raises((pickle.UnpicklingError, ValueError, KeyError, EOFError)),
        ):
            pickle.load(stream)
        with file.open("rb") as stream:
            assert stream.read(2) != b"PK"  # torch.save's zip


def test_the_tied_head_is_stored_once(tmp_path: Path) -> None:
    weights = load_file(save(trained(tmp_path), 3) / "model.safetensors")
    assert "lm_head.weight" not in weights
    model = build_model(trained(tmp_path).raw_model.config, weights)
    assert model.lm_head.weight is model.transformer.wte.weight


# --- Damage


@pytest.mark.parametrize("name", [*FILES, "COMPLETE"])
def test_a_missing_file_makes_it_no_checkpoint(name: str, tmp_path: Path) -> None:
    path = save(trained(tmp_path), 3)
    assert list_checkpoints(tmp_path) == [path]
    (path / name).unlink()
    assert not is_complete(path)
    assert list_checkpoints(tmp_path) == []


@pytest.mark.parametrize("name", [*FILES, "COMPLETE"])
def test_a_truncated_file_makes_it_no_checkpoint(name: str, tmp_path: Path) -> None:
    path = save(trained(tmp_path), 3)
    os.truncate(path / name, (path / name).stat().st_size // 2)
    assert list_checkpoints(tmp_path) == []


@pytest.mark.parametrize("name", FILES)
def test_an_altered_file_is_named(name: str, tmp_path: Path) -> None:
    path = save(trained(tmp_path), 3)
    flip_last_byte(path / name)
    with pytest.raises(NanoGPTError, match=f"iter_00000003 is damaged: {name}") as caught:
        read_checkpoint(path)
    assert caught.value.hint.endswith(f"nanogpt train --resume --out-dir {tmp_path}")


@pytest.mark.parametrize("marker", ["", "[]", "{}", '{"files": {}}', '{"files": 3}', "\0" * 40])
def test_a_marker_that_marks_nothing_makes_it_no_checkpoint(marker: str, tmp_path: Path) -> None:
    path = save(trained(tmp_path), 3)
    (path / "COMPLETE").write_text(marker, encoding="utf-8")
    assert list_checkpoints(tmp_path) == []


def test_a_checkpoint_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = save(trained(tmp_path), 3)
    document = json.loads((path / "state.json").read_text(encoding="utf-8"))
    raw = json.dumps({**document, "version": 99})
    (path / "state.json").write_text(raw, encoding="utf-8")
    marker = json.loads((path / "COMPLETE").read_text(encoding="utf-8"))
    marker["files"]["state.json"] = {
        "bytes": len(raw),
        "sha256": module.sha256_file(path / "state.json"),
    }
    (path / "COMPLETE").write_text(json.dumps(marker), encoding="utf-8")
    with pytest.raises(NanoGPTError, match="another version"):
        read_checkpoint(path)


def test_an_incomplete_folder_of_the_same_name_is_replaced(tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    path = save(trainer, 3)
    (path / "COMPLETE").unlink()
    assert save(trainer, 3) == path
    read_checkpoint(path)


def test_a_damaged_checkpoint_of_the_same_name_is_replaced(tmp_path: Path) -> None:
    """Bug: sizes alone were compared, so a run that had fallen back from a damaged checkpoint and come to
    its iteration again left the damaged one in place, as the newest, and removed older, intact ones."""
    trainer = trained(tmp_path)
    path = save(trainer, 3)
    flip_last_byte(path / "model.safetensors")
    assert save(trainer, 3) == path
    read_checkpoint(path)


def test_a_complete_checkpoint_is_left_alone(tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    path = save(trainer, 3)
    before = (path / "COMPLETE").stat().st_ino
    save(trainer, 3)
    assert (path / "COMPLETE").stat().st_ino == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    good = save(trainer, 2)
    with torch.no_grad():
        trainer.raw_model.transformer.h[1].mlp.c_fc.weight[3, 4] = value
    with pytest.raises(NanoGPTError, match="at iteration 3 are not finite") as caught:
        save(trainer, 3)
    assert "--resume" in caught.value.hint
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == [good.name]


# --- Retention


def test_the_newest_k_and_the_best_are_kept(tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    for iter_num, val_loss in ((10, 3.0), (20, 1.0), (30, 2.0), (40, None), (50, 1.5)):
        save(trainer, iter_num, val_loss)
        remove_old_checkpoints(tmp_path, keep=2)
    names = [path.name for path in list_checkpoints(tmp_path)]
    assert names == ["iter_00000020", "iter_00000040", "iter_00000050"]
    assert best_checkpoint(tmp_path) == tmp_path / "checkpoints" / "iter_00000020"
    assert len(list((tmp_path / "checkpoints").iterdir())) == 3


def test_without_an_evaluation_only_the_newest_are_kept(tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    for iter_num in (10, 20, 30):
        save(trainer, iter_num)
    remove_old_checkpoints(tmp_path, keep=1)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["iter_00000030"]
    assert best_checkpoint(tmp_path) is None


def test_an_older_checkpoint_that_cannot_be_read_does_not_stop_retention(tmp_path: Path) -> None:
    """Bug: best_checkpoint raised for a state.json damaged on the disk, which ended a healthy run."""
    trainer = trained(tmp_path)
    damaged = save(trainer, 10, 1.0)
    flip_last_byte(damaged / "state.json", offset=-3)
    save(trainer, 20, 2.0)
    save(trainer, 30, 3.0)
    assert best_checkpoint(tmp_path) == tmp_path / "checkpoints" / "iter_00000020"
    remove_old_checkpoints(tmp_path, keep=1)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["iter_00000020", "iter_00000030"]


# --- A crash at every step


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


def test_optimizer_state_of_an_untouched_parameter_is_absent(tmp_path: Path) -> None:
    """A parameter that never had a gradient has no moments, before and after."""
    trainer = trained(tmp_path, iters=0)
    restored = build_trainer(tmp_path, checkpoint=read_checkpoint(save(trainer, 1)))
    assert restored.optimizer.state == {}
    assert next(restored.raw_model.parameters()).device == CPU


def flip_last_byte(path: Path, offset: int = -1) -> None:
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 0xFF
    path.write_bytes(raw)


def test_what_a_killed_save_left_behind_is_removed_by_the_next(tmp_path: Path) -> None:
    """Bug: every kill left a folder as large as a checkpoint, for ever, and one of the right name stood in
    the way of removing an old checkpoint, which ended the run with "directory not empty"."""
    trainer = trained(tmp_path)
    for name in (".tmp-iter_00000002-abc", ".tmp-iter_00000001"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "model.safetensors").write_bytes(b"half")
    save(trainer, 1)
    save(trainer, 2)
    remove_old_checkpoints(tmp_path, keep=1)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["iter_00000002"]

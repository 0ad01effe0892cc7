"""Checkpoints are complete or not there, whatever happens while one is written."""

import dataclasses
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nanogpt_cli.engine import checkpoint as module
from nanogpt_cli.engine.checkpoint import (
    best_checkpoint,
    is_complete,
    list_checkpoints,
    read_checkpoint,
    remove_old_checkpoints,
)
from nanogpt_cli.engine.models.registry import build_model
from nanogpt_cli.errors import NanoGPTError
from tests.engine.checkpoints import flip_last_byte, save, trained
from tests.engine.tiny import CPU, DATASET, assert_same_tensors, build_trainer, snapshot

FILES = ["model.safetensors", "optim.safetensors", "state.json"]


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


def test_optimizer_state_of_an_untouched_parameter_is_absent(tmp_path: Path) -> None:
    """A parameter that never had a gradient has no moments, before and after."""
    trainer = trained(tmp_path, iters=0)
    restored = build_trainer(tmp_path, checkpoint=read_checkpoint(save(trainer, 1)))
    assert restored.optimizer.state == {}
    assert next(restored.raw_model.parameters()).device == CPU


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

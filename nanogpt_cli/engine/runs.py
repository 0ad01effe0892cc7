"""Run directories: where a new one goes, which one is meant, and how a trained model is read back."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

from nanogpt_cli.config.load import Layer, merge, read_file
from nanogpt_cli.config.schema import SETTINGS, TrainConfig
from nanogpt_cli.data.tokenizers.base import TOKENIZER_FILE, Tokenizer, load_tokenizer
from nanogpt_cli.engine.checkpoint import (
    Checkpoint,
    best_checkpoint,
    is_complete,
    list_checkpoints,
    read_checkpoint,
)
from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.interop.nanogpt import (
    NanoGPTCheckpoint,
    find_ckpt,
    find_tokenizer,
    read_ckpt,
    read_ckpt_settings,
)
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.models.registry import build_model
from nanogpt_cli.errors import NanoGPTError, UsageError

OUT_ROOT = Path("out")
CONFIG_FILE = "config.toml"
_START = "train one first: nanogpt train --preset cpu-tiny"


@dataclass(frozen=True, kw_only=True)
class LoadedRun:
    """A trained model with everything needed to use it."""

    run_dir: Path
    checkpoint: Checkpoint
    config: TrainConfig
    model: LanguageModel
    tokenizer: Tokenizer | None  # None where the dataset had none that can be written down


def load_run(path: str | Path | None, *, hardware: Hardware, which: str = "best") -> LoadedRun:
    """Read a run directory or one checkpoint folder; the newest run when `path` is None.

    `which` is "best" (lowest val loss; the last one where none was evaluated) or "last".
    """
    target = Path(path) if path is not None else newest_run()
    if (ckpt := foreign_ckpt(target)) is not None:
        return _nanogpt_run(read_ckpt(ckpt), hardware)
    run_dir, checkpoint = find_checkpoint(target, which)
    return LoadedRun(
        run_dir=run_dir,
        checkpoint=checkpoint,
        config=read_run_config(run_dir),
        model=_for_inference(checkpoint, hardware),
        tokenizer=run_tokenizer(run_dir),
    )


def _nanogpt_run(checkpoint: NanoGPTCheckpoint, hardware: Hardware) -> LoadedRun:
    """A run of nanoGPT's train.py, used where it lies."""
    layer = Layer(origin=str(checkpoint.path), values=checkpoint.settings)
    return LoadedRun(
        run_dir=checkpoint.path.parent,
        checkpoint=checkpoint,
        config=merge([layer], label=checkpoint.path.parent.name).config,
        model=_for_inference(checkpoint, hardware),
        tokenizer=find_tokenizer(checkpoint),
    )


def _for_inference(checkpoint: Checkpoint, hardware: Hardware) -> LanguageModel:
    """The model of a checkpoint, without dropout, which is for training."""
    shape = dataclasses.replace(checkpoint.model, dropout=0.0)
    return build_model(shape, checkpoint.weights()).to(hardware.device).eval()


def find_checkpoint(target: Path, which: str) -> tuple[Path, Checkpoint]:
    """The run directory and the checkpoint meant by a run of ours, or by one of its checkpoint folders."""
    if not is_complete(target):
        return target, read_checkpoint(choose_checkpoint(target, which))
    run_dir = Path(os.path.relpath(target.resolve().parent.parent))  # also from inside the folder
    return run_dir, read_checkpoint(target)


def run_tokenizer(run_dir: Path) -> Tokenizer | None:
    """The tokenizer beside a run's checkpoints; None where its dataset had none that can be written down."""
    return load_tokenizer(run_dir) if (run_dir / TOKENIZER_FILE).exists() else None


def foreign_ckpt(path: Path) -> Path | None:
    """nanoGPT's ckpt.pt where `path` is one, or a folder that holds one and no checkpoint of ours."""
    return find_ckpt(path) if not list_checkpoints(path) else None


def means_run(path: Path) -> bool:
    """Whether `path` is a run or one of its checkpoints, ours or nanoGPT's."""
    return foreign_ckpt(path) is not None or is_complete(path) or holds_run(path)


def choose_checkpoint(run_dir: Path, which: str) -> Path:
    """The best or the last checkpoint of a run; clear errors when there is none."""
    if not run_dir.exists():
        raise UsageError(f"there is no run {run_dir}", _known_runs())
    checkpoints = list_checkpoints(run_dir) if run_dir.is_dir() else []
    if not checkpoints:
        raise NanoGPTError(f"{run_dir} holds no complete checkpoint", _known_runs(excluding=run_dir))
    return (best_checkpoint(run_dir) if which == "best" else None) or checkpoints[-1]


def read_run_config(run_dir: Path) -> TrainConfig:
    """The resolved configuration a run was trained with."""
    return merge([read_file(run_dir / CONFIG_FILE)], label=run_dir.name).config


def changed_settings(run_dir: Path, config: TrainConfig) -> str:
    """What `config` has otherwise than the run's file: `max_iters 2000 → 3000, …`; empty where nothing."""
    if not (run_dir / CONFIG_FILE).is_file():
        return ""  # nanoGPT's runs have none
    before = read_run_config(run_dir)
    elsewhere = {"out_dir", "dataset", "init_from"}  # said where they matter, and written in other words
    return ", ".join(
        f"{name} {getattr(before, name)} → {getattr(config, name)}"
        for name in SETTINGS
        if name not in elsewhere and getattr(before, name) != getattr(config, name)
    )


def resumed_settings(run_dir: Path) -> Layer:
    """What a run was trained with, to lie below the flags of its continuation; also a run of nanoGPT's."""
    if (ckpt := foreign_ckpt(run_dir)) is not None:
        return Layer(origin=str(ckpt), values=read_ckpt_settings(ckpt))
    layer = read_file(run_dir / CONFIG_FILE)
    # A run that was only evaluated in between trains on when it is asked to.
    values = {name: value for name, value in layer.values.items() if name != "eval_only"}
    return dataclasses.replace(layer, values=values)


def all_runs(root: Path = OUT_ROOT) -> list[Path]:
    """Runs with a complete checkpoint, newest first: those under `root`, and nanoGPT-style `./out-*`."""
    dated = []
    for config in [*root.glob(f"*/{CONFIG_FILE}"), *root.parent.glob(f"*/{CONFIG_FILE}")]:
        if checkpoints := list_checkpoints(config.parent):
            dated.append((max(path.stat().st_mtime_ns for path in checkpoints), config.parent))
    return [path for _, path in sorted(dated, reverse=True)]


def newest_run(root: Path = OUT_ROOT) -> Path:
    """The run whose checkpoint was written last; raises NanoGPTError when there is none."""
    if runs := all_runs(root):
        return runs[0]
    raise NanoGPTError(f"there is no trained run under {root}/", _START)


def holds_run(path: Path) -> bool:
    """Whether a run was started in this folder, finished or not."""
    return (path / CONFIG_FILE).exists() or (path / "checkpoints").is_dir()


def free_run_dir(wanted: Path) -> Path:
    """`wanted`, or the next free `wanted-2`, `wanted-3` … if a run is there already."""
    candidate, number = wanted, 1
    while holds_run(candidate):
        number += 1
        candidate = wanted.with_name(f"{wanted.name}-{number}")
    return candidate


def _known_runs(excluding: Path | None = None) -> str:
    known = [str(path) for path in all_runs() if path != excluding]
    return f"name one of: {', '.join(known[:5])}" if known else _START

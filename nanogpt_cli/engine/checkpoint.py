"""Checkpoints that are complete or not there.

`checkpoints/iter_00001000/` holds model.safetensors, optim.safetensors, state.json and COMPLETE, which lists
every file's size and SHA-256 and is written last. The folder is built under a temporary name and renamed, so
a run killed at any moment leaves only complete checkpoints. Format: https://huggingface.co/docs/safetensors
(nothing is pickled). Weights carry the architecture's names; what is tied is stored once.

Of a run with `strategy fsdp` every rank writes its own part: the folders model/ and optim/ stand in for the
two files (see `shard_files`). Reading puts the parts together, so any number of processes reads either kind.
"""

import contextlib
import dataclasses
import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nanogpt_cli.engine.distributed import Distributed
from nanogpt_cli.engine.models.base import LanguageModel, ModelConfig
from nanogpt_cli.engine.models.registry import model_config
from nanogpt_cli.engine.shard_files import ShardFolder, WrittenFile, write_shards
from nanogpt_cli.engine.sharded import drop_gathered, is_sharded, local, placed_like
from nanogpt_cli.errors import NanoGPTError
from nanogpt_cli.files import TEMPORARY_PREFIX, fsync_file, new_directory, sha256_file

FORMAT: Final = "nanogpt-checkpoint"
VERSION: Final = 2  # 1: without shards, and still written where nothing is sharded
MARKER: Final = "COMPLETE"
WEIGHTS: Final = "model.safetensors"
OPTIMIZER: Final = "optim.safetensors"
STATE: Final = "state.json"
WEIGHT_SHARDS: Final = "model"  # folders
OPTIMIZER_SHARDS: Final = "optim"
_REPLACED: Final = ".old"  # carried until another has taken the name; until then a checkpoint like any


@dataclass(kw_only=True)
class TrainState:
    """What a run knows besides weights and optimizer. Batches and dropout need no state: they are counted."""

    iter_num: int = 0  # iterations done
    tokens_seen: int = 0
    last_eval_iter: int | None = None
    train_loss: float | None = None  # estimates at last_eval_iter
    val_loss: float | None = None
    best_val_loss: float | None = None
    best_val_iter: int | None = None
    last_sample_iter: int | None = None
    pending_loss_sum: float = 0.0  # the log interval that a checkpoint cuts in two
    pending_iters: int = 0
    pending_norm_sum: float = 0.0
    pending_norms: int = 0
    pending_clipped: int = 0
    scaler: dict[str, Any] | None = None  # GradScaler's, for float16


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One complete checkpoint on disk."""

    path: Path
    model: ModelConfig
    state: TrainState
    dataset: dict[str, str]  # name, path, fingerprint

    @property
    def own_val_loss(self) -> float | None:
        """The val loss of exactly these weights; None when they were not evaluated."""
        return self.state.val_loss if self.state.last_eval_iter == self.state.iter_num else None

    def weights(self) -> dict[str, Tensor]:
        """The model's tensors, on the CPU."""
        with _reading(self.path):
            tensors = _open(self.path, WEIGHTS, WEIGHT_SHARDS)
            return {name: tensors(name) for name in tensors.names}

    def restore_optimizer(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put the optimizer's moments back in place."""
        with _reading(self.path):
            saved = _open(self.path, OPTIMIZER, OPTIMIZER_SHARDS)
            for name, parameter in model.named_parameters():
                prefix = name + "/"
                moments = [key for key in saved.names if key.startswith(prefix)]
                if moments:  # a parameter that never had a gradient has none
                    # Copied: on Windows a file that is still mapped cannot be renamed or deleted.
                    optimizer.state[parameter] = {
                        key.removeprefix(prefix): placed_like(saved(key), parameter) for key in moments
                    }


def save_checkpoint(
    run_dir: Path,
    model: LanguageModel,
    optimizer: torch.optim.Optimizer,
    state: TrainState,
    dataset: dict[str, str],
    dist: Distributed | None = None,
) -> Path:
    """Write the checkpoint of `state.iter_num` and return its folder.

    An intact one there is left alone, unless its weights have been evaluated since: then it is replaced.
    All ranks call it together where the model is sharded, else rank 0 alone. Raises OSError when the disk is
    full or read-only (nothing is left behind), and NanoGPTError rather than save weights that are not finite.
    """
    dist = (dist if is_sharded(model) else None) or Distributed()
    target = run_dir / "checkpoints" / f"iter_{state.iter_num:08d}"
    if dist.from_main(lambda: _is_intact(target) and _evaluated_at(target) == state.last_eval_iter):
        return target
    drop_gathered(model)
    weights = {k: v.detach() for k, v in model.state_dict().items() if k not in model.tied}
    nonfinite = not all(bool(local(v).isfinite().all()) for v in weights.values())
    if any(dist.gather(nonfinite)):
        raise NanoGPTError(
            f"the weights at iteration {state.iter_num} are not finite and were not saved",
            f"go on from the last good one with a lower rate: nanogpt train --resume --out-dir {run_dir}",
        )
    moments = _optimizer_tensors(model, optimizer)
    with contextlib.ExitStack() as stack:

        def new_folder() -> Path:
            if not _is_intact(target):
                shutil.rmtree(target, ignore_errors=True)  # of no use to anyone
            return stack.enter_context(new_directory(target))

        folder = dist.from_main(new_folder)
        if is_sharded(model):
            shards = _write_shards(folder, weights, moments, dist)
        else:
            shards = []
            _save(weights, folder / WEIGHTS)
            _save(moments, folder / OPTIMIZER)
        if dist.is_main:
            document = {
                "format": FORMAT,
                "version": VERSION if shards else 1,
                "arch": model.config.arch,
                "model": dataclasses.asdict(model.config),
                "dataset": dataset,
                "state": dataclasses.asdict(state),
            }
            _mark_complete(folder, document, shards)
            if target.exists():
                target.rename(target.with_suffix(_REPLACED))
    return target


def _write_shards(
    folder: Path, weights: dict[str, Tensor], moments: dict[str, Tensor], dist: Distributed
) -> list[WrittenFile]:
    """Every rank's part of both; the files of all ranks, as they themselves have seen them."""
    own = write_shards(weights, folder / WEIGHT_SHARDS, dist.rank)
    own += write_shards(moments, folder / OPTIMIZER_SHARDS, dist.rank)
    written = [file for files in dist.gather(own) for file in files]
    if dist.is_main and not all((folder / file.name).is_file() for file in written):
        raise NanoGPTError(
            f"what other processes save is not to be seen in {folder.parent}",
            "put the run on a file system that every machine shares: --out-dir /shared/run",
        )
    return written


def _mark_complete(folder: Path, document: dict[str, Any], shards: list[WrittenFile]) -> None:
    """Write state.json, then the marker with every file's size and hash."""
    (folder / STATE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    # A rank has fsynced and hashed its own files.
    files = {file.name: {"bytes": file.n_bytes, "sha256": file.sha256} for file in shards}
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        fsync_file(path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    (folder / MARKER).write_text(json.dumps({"files": files}, indent=2) + "\n", encoding="utf-8")


def is_complete(path: Path) -> bool:
    """Whether the marker is there and every file it lists has its size (hashes are checked on loading)."""
    files = _marked_files(path)
    return bool(files) and all(
        (path / name).is_file() and (path / name).stat().st_size == entry["bytes"]
        for name, entry in files.items()
    )


def list_checkpoints(run_dir: Path) -> list[Path]:
    """Folders of the complete checkpoints of a run, oldest first."""
    folders = (run_dir / "checkpoints").glob("iter_*")
    # What was being replaced when its run was killed is older than what replaced it.
    return [path for path in sorted(folders, key=lambda p: (p.stem, not p.suffix)) if is_complete(path)]


def read_checkpoint(path: Path) -> Checkpoint:
    """Open one checkpoint after checking every file's SHA-256; raises NanoGPTError when it is damaged."""
    if altered := _altered_files(path):
        raise _damaged(path, f"{altered[0]} is not what was saved")
    return open_checkpoint(path)


def best_checkpoint(run_dir: Path) -> Path | None:
    """The checkpoint with the lowest val loss of its own; None when none was evaluated."""
    scored = []
    for path in list_checkpoints(run_dir):
        with contextlib.suppress(NanoGPTError):  # a damaged state.json is nobody's best
            loss = open_checkpoint(path).own_val_loss
            if loss is not None and math.isfinite(loss):
                scored.append((loss, path))
    return min(scored)[1] if scored else None


def remove_old_checkpoints(run_dir: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints and the best one."""
    for left_behind in (run_dir / "checkpoints").glob(f"{TEMPORARY_PREFIX}*"):  # by a run that was killed
        shutil.rmtree(left_behind, ignore_errors=True)
    found = list_checkpoints(run_dir)
    for path in found:
        if path.suffix and path.with_suffix("") in found:
            _discard(path)
    best = best_checkpoint(run_dir)
    for path in list_checkpoints(run_dir)[:-keep]:
        if path != best:
            _discard(path)


def _discard(path: Path) -> None:
    """Delete a checkpoint; renamed first, as a folder that is half deleted must not carry its name."""
    shutil.rmtree(path.rename(path.with_name(TEMPORARY_PREFIX + path.name)), ignore_errors=True)


def open_checkpoint(path: Path) -> Checkpoint:
    """Open one checkpoint without reading its tensors; raises NanoGPTError when state.json is damaged."""
    try:
        document = json.loads((path / STATE).read_text(encoding="utf-8"))
        if document["format"] != FORMAT or document["version"] > VERSION:
            raise _damaged(path, "it was written by another version")
        return Checkpoint(
            path=path,
            model=model_config(document["arch"], document["model"]),
            state=TrainState(**document["state"]),
            dataset=document["dataset"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"{STATE} cannot be read ({error})") from None


def _is_intact(path: Path) -> bool:
    return is_complete(path) and not _altered_files(path)


def _evaluated_at(path: Path) -> int | None:
    return open_checkpoint(path).state.last_eval_iter


def _altered_files(path: Path) -> list[str]:
    return [
        name
        for name, entry in _marked_files(path).items()
        if not (path / name).is_file() or sha256_file(path / name) != entry["sha256"]
    ]


def _marked_files(path: Path) -> dict[str, dict[str, Any]]:
    try:
        files = json.loads((path / MARKER).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # no marker, or not a whole one: not a checkpoint
    return files if isinstance(files, dict) else {}


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """`<parameter>/<moment>` → tensor, for every tensor the optimizer keeps."""
    return {
        f"{name}/{key}": value.detach()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:  # how safetensors reports a full disk
        raise OSError(f"{path}: {error}") from error


@dataclass(frozen=True)
class _Tensors:
    """A file's or folder's tensors by name."""

    names: list[str]
    read: Callable[[str], Tensor]

    def __call__(self, name: str) -> Tensor:
        return self.read(name)


def _open(path: Path, file: str, folder: str) -> _Tensors:
    """The tensors of a checkpoint, in one file or in the parts that ranks have written."""
    if (path / folder).is_dir():
        shards = ShardFolder(path / folder)
        return _Tensors(list(shards.names()), shards.tensor)
    whole = load_file(path / file)
    return _Tensors(list(whole), whole.__getitem__)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, f"its tensors cannot be read ({error})") from None


def _damaged(path: Path, reason: str) -> NanoGPTError:
    run_dir = path.parent.parent
    return NanoGPTError(
        f"checkpoint {path} is damaged: {reason}",
        f"delete it and go on from the one before: nanogpt train --resume --out-dir {run_dir}",
    )

"""Where a run starts: fresh weights, weights trained before, or the newest intact checkpoint of a run."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import torch

from nanogpt_cli.config.load import LoadedConfig
from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.data.dataset import Dataset
from nanogpt_cli.engine.checkpoint import (
    Checkpoint,
    TrainState,
    list_checkpoints,
    open_checkpoint,
    read_checkpoint,
)
from nanogpt_cli.engine.distributed import Distributed
from nanogpt_cli.engine.interop.nanogpt import read_ckpt
from nanogpt_cli.engine.models.base import LanguageModel, ModelConfig
from nanogpt_cli.engine.models.gpt2 import GPT2, GPT2Config
from nanogpt_cli.engine.models.registry import CONFIGS, build_model, model_config, new_model
from nanogpt_cli.engine.pretrained import check_before_loading, check_vocabulary, load_pretrained
from nanogpt_cli.engine.runs import foreign_ckpt
from nanogpt_cli.errors import NanoGPTError, UsageError
from nanogpt_cli.events import Reporter, Warned

# GPT-2's 50,257 tokens rounded up to a multiple of 64, which matrix products like (nanoGPT, train.py).
GPT2_PADDED_VOCAB_SIZE = 50304
_PAD_MULTIPLE = 64
_PAD_FROM = 1024  # smaller vocabularies (characters, bytes) gain nothing from padding
_ARCHITECTURE = ("arch", "n_layer", "n_head", "n_embd", "block_size", "bias", "ngram_order", "ngram_rows")


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a run begins with."""

    model: LanguageModel
    state: TrainState
    checkpoint: Checkpoint | None = None


def starting_point(
    loaded: LoadedConfig,
    dataset: Dataset,
    run_dir: Path,
    *,
    resume: bool,
    reporter: Reporter,
    dist: Distributed | None = None,
) -> tuple[Start, LoadedConfig]:
    """The model and state to begin with, and the configuration with what given weights decide."""
    if resume:
        return _resume(loaded, dataset, run_dir, dist or Distributed(), reporter)
    torch.manual_seed(loaded.config.seed)
    if loaded.config.init_from == "scratch":
        return _scratch(loaded.config, dataset), loaded
    return _pretrained(loaded, dataset)


def _scratch(config: TrainConfig, dataset: Dataset) -> Start:
    return Start(model=new_model(model_shape(config, padded_vocab_size(dataset))), state=TrainState())


def model_shape(config: TrainConfig, vocab_size: int) -> ModelConfig:
    """The model that the settings describe: those of an architecture's fields that are settings."""
    fields = {field.name for field in dataclasses.fields(CONFIGS[config.arch])}
    settings = {name: value for name, value in vars(config).items() if name in fields}
    return model_config(config.arch, {"vocab_size": vocab_size, **settings})


def _pretrained(loaded: LoadedConfig, dataset: Dataset) -> tuple[Start, LoadedConfig]:
    """Weights trained before, their context cropped to block_size; their shape overrules the settings."""
    config = loaded.config
    check_before_loading(dataset, config.init_from)
    given = load_pretrained(config.init_from)
    shape, weights = given.shape, given.weights
    check_vocabulary(dataset, given)
    if config.block_size > shape.block_size:
        raise UsageError(
            f"block_size = {config.block_size} is more than the {shape.block_size} positions of {given.name}",
            f"use --block-size {shape.block_size} or smaller",
        )
    if isinstance(shape, GPT2Config):  # its positions are learned, one row each
        weights[GPT2.positions] = weights[GPT2.positions][: config.block_size].clone()
    shape = with_dropout(dataclasses.replace(shape, block_size=config.block_size), config)
    origin = f"init_from {config.init_from}"
    loaded = loaded.replace(
        origin,
        arch=shape.arch,
        n_layer=shape.n_layer,
        n_head=shape.n_head,
        n_embd=shape.n_embd,
        bias=shape.bias if isinstance(shape, GPT2Config) else False,
    )
    return Start(model=build_model(shape, weights), state=TrainState()), loaded


def _resume(
    loaded: LoadedConfig, dataset: Dataset, run_dir: Path, dist: Distributed, reporter: Reporter
) -> tuple[Start, LoadedConfig]:
    checkpoint = _agreed_checkpoint(run_dir, dist, reporter)
    loaded = _as_nanogpt_resumes(loaded, checkpoint, reporter)
    config = loaded.config
    known = checkpoint.dataset["fingerprint"]  # nanoGPT's checkpoints do not say what they were trained on
    if known and known != dataset.fingerprint:
        raise NanoGPTError(
            f"the dataset {dataset.path} has changed since {checkpoint.path.name} was saved: "
            "other tokens would continue another run",
            f"prepare the old text again, or start a new run: nanogpt train --dataset {dataset.name}",
        )
    wanted = model_shape(config, checkpoint.model.vocab_size)
    saved = checkpoint.model
    changed = [n for n in _ARCHITECTURE if getattr(wanted, n, None) != getattr(saved, n, None)]
    if changed:
        pairs = ", ".join(f"{n} {getattr(saved, n, None)} → {getattr(wanted, n, None)}" for n in changed)
        raise UsageError(
            f"the architecture cannot change on resume: {pairs}",
            _how_to_keep(changed, loaded, run_dir),
        )
    if padded_vocab_size(dataset) != checkpoint.model.vocab_size and not known:
        raise UsageError(
            f"{checkpoint.path} was trained with {checkpoint.model.vocab_size:,} token ids, dataset "
            f"{dataset.name} has {padded_vocab_size(dataset):,}",
            "name the data folder it was trained on: --dataset NAME",
        )
    if checkpoint.state.iter_num > config.max_iters:
        raise UsageError(
            f"{checkpoint.path.name} is beyond max_iters = {config.max_iters}",
            f"nanogpt train --resume --out-dir {run_dir} --max-iters {checkpoint.state.iter_num + 1000}",
        )
    shape = with_dropout(checkpoint.model, config)
    model = build_model(shape, checkpoint.weights())
    return Start(model=model, state=checkpoint.state, checkpoint=checkpoint), loaded


def _as_nanogpt_resumes(loaded: LoadedConfig, checkpoint: Checkpoint, reporter: Reporter) -> LoadedConfig:
    """nanoGPT takes a resumed model's shape from the checkpoint, whatever its .py config says; so do we."""
    saved = checkpoint.model
    written = [name for name in _ARCHITECTURE if Path(_place(loaded.origins[name])).suffix == ".py"]
    kept = {
        name: getattr(saved, name)
        for name in written
        if getattr(saved, name, None) not in (None, getattr(loaded.config, name))
    }
    if not kept:
        return loaded
    pairs = ", ".join(f"{name} = {value}" for name, value in kept.items())
    where = ", ".join(sorted({_place(loaded.origins[name]) for name in kept}))
    reporter.emit(Warned(message=f"the checkpoint's {pairs} stays: {where} cannot change a trained model"))
    return loaded.replace(checkpoint.path.as_posix(), **kept)


def _place(origin: str) -> str:
    """`config/x.py:7` → `config/x.py`."""
    return origin.rpartition(":")[0] or origin


def _how_to_keep(changed: list[str], loaded: LoadedConfig, run_dir: Path) -> str:
    """What to type for the run's own architecture, by where another one comes from."""
    places = sorted({_place(loaded.origins[name]) for name in changed})
    if all(place.startswith("flag ") for place in places):
        return f"leave {', '.join('--' + name.replace('_', '-') for name in changed)} out, or start a new run"
    again = f"nanogpt train --resume --out-dir {run_dir}"
    return f"it comes from {', '.join(places)}; the run's own goes on: {again}"


def _agreed_checkpoint(run_dir: Path, dist: Distributed, reporter: Reporter) -> Checkpoint:
    """The same checkpoint on all ranks: rank 0 looks for it, and checks its files for all."""
    found: list[Checkpoint] = []

    def find() -> Path:
        found.append(_newest_intact(run_dir, reporter))
        return found[0].path

    path = dist.from_main(find)
    if found:
        return found[0]
    return read_ckpt(path) if path.is_file() else open_checkpoint(path)


def with_dropout(shape: ModelConfig, config: TrainConfig) -> ModelConfig:
    """What is dropped in training is the settings' to say, whatever the weights were trained with before."""
    names = [field.name for field in dataclasses.fields(shape) if field.name.endswith("dropout")]
    return dataclasses.replace(shape, **{name: getattr(config, name) for name in names})


def _newest_intact(run_dir: Path, reporter: Reporter) -> Checkpoint:
    """The newest checkpoint whose files are what was saved; damaged ones are named and passed over."""
    if (ckpt := foreign_ckpt(run_dir)) is not None:
        return read_ckpt(ckpt)
    for path in reversed(list_checkpoints(run_dir)):
        try:
            return read_checkpoint(path)
        except NanoGPTError as error:
            reporter.emit(Warned(message=f"{error.message}; going back to the checkpoint before it"))
    raise NanoGPTError(
        f"{run_dir} holds no complete checkpoint to resume from",
        f"start it anew: nanogpt train --out-dir {run_dir} --overwrite",
    )


def padded_vocab_size(dataset: Dataset) -> int:
    """Rows of the embedding for a dataset: a BPE vocabulary is rounded up to a multiple of 64."""
    if dataset.vocab_size is None:
        return GPT2_PADDED_VOCAB_SIZE
    if dataset.vocab_size < _PAD_FROM:
        return dataset.vocab_size
    return math.ceil(dataset.vocab_size / _PAD_MULTIPLE) * _PAD_MULTIPLE

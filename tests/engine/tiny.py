"""Tiny runs for the engine's tests: two layers, sixteen wide, built without a command line or a dataset."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.data.batches import Batches
from nanogpt_cli.engine import flops
from nanogpt_cli.engine.checkpoint import Checkpoint, TrainState
from nanogpt_cli.engine.device import Hardware, choose_hardware
from nanogpt_cli.engine.distributed import Distributed
from nanogpt_cli.engine.interrupts import StopRequest
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.models.gpt2 import GPT2Config
from nanogpt_cli.engine.models.registry import build_model, new_model
from nanogpt_cli.engine.optim import build_optimizer
from nanogpt_cli.engine.start import model_shape, with_dropout
from nanogpt_cli.engine.trainer import TrainBatches, Trainer
from nanogpt_cli.events import Event

VOCAB_SIZE = 13
CPU = torch.device("cpu")
DATASET = {"name": "synthetic", "path": "data/synthetic", "tokenizer": "none", "fingerprint": "0" * 64}


def tiny_config(**changes: Any) -> TrainConfig:
    """Two layers on the CPU in float32; `changes` are settings of TrainConfig."""
    settings: dict[str, Any] = {
        "n_layer": 2,
        "n_head": 2,
        "n_embd": 16,
        "block_size": 8,
        "batch_size": 4,
        "gradient_accumulation_steps": 1,
        "learning_rate": 1e-2,
        "min_lr": 1e-3,
        "warmup_iters": 3,
        "max_iters": 20,
        "lr_decay_iters": 20,
        "eval_interval": 1000,
        "eval_iters": 2,
        "always_save_checkpoint": False,
        "device": "cpu",
        "dtype": "float32",
        "compile": False,
    }
    return TrainConfig(**{**settings, **changes})


def shape_of(config: TrainConfig, vocab_size: int = VOCAB_SIZE) -> GPT2Config:
    """The GPT-2 a configuration describes."""
    shape = model_shape(config, vocab_size)
    assert isinstance(shape, GPT2Config)
    return shape


def synthetic_tokens(count: int = 2000, vocab_size: int = VOCAB_SIZE) -> np.ndarray:
    """A learnable text of integers alone: mostly the next id, at times a jump by a 32-bit generator."""
    state, token, tokens = 12345, 0, []
    for _ in range(count):
        state = (1103515245 * state + 12345) % 2**31  # the C standard's example generator
        token = (token + 1 if state >> 28 else state >> 16) % vocab_size
        tokens.append(token)
    return np.array(tokens, dtype=np.uint16)


class Recorder:
    """A reporter that keeps every event."""

    def __init__(self, then: Callable[[Event], None] | None = None) -> None:
        self.events: list[Event] = []
        self.then = then

    def emit(self, event: Event) -> None:
        """Keep the event, then call `then` with it."""
        self.events.append(event)
        if self.then is not None:
            self.then(event)

    def close(self) -> None:
        """Nothing to close."""

    def of(self, kind: type) -> list[Any]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]


def cpu_hardware() -> Hardware:
    """The CPU in float32, nothing compiled."""
    return choose_hardware(tiny_config())


def build_trainer(
    run_dir: Path,
    config: TrainConfig | None = None,
    *,
    tokens: np.ndarray | None = None,
    reporter: Recorder | None = None,
    checkpoint: Checkpoint | None = None,
    model: LanguageModel | None = None,
    stop: StopRequest | None = None,
    peak_flops: float | None = None,
    late: int | None = None,
) -> Trainer:
    """A trainer as `engine.train` builds it, from `checkpoint` if there is one, else from the seed."""
    config = config or tiny_config()
    tokens = synthetic_tokens() if tokens is None else tokens
    torch.manual_seed(config.seed)
    if checkpoint is not None:
        shape = with_dropout(checkpoint.model, config)
        model = build_model(shape, checkpoint.weights())
    model = model or new_model(model_shape(config, VOCAB_SIZE))
    optimizer = build_optimizer(model, config, cpu_hardware())
    if checkpoint is not None:
        checkpoint.restore_optimizer(model, optimizer)

    batches = Batches(tokens=tokens, block_size=config.block_size, seed=config.seed, order=config.data_order)
    return Trainer(
        config=config,
        model=model,
        raw_model=model,
        optimizer=optimizer,
        batches=TrainBatches(train=batches, val=batches),
        state=checkpoint.state if checkpoint else TrainState(),
        hardware=cpu_hardware(),
        dist=Distributed(),
        reporter=reporter or Recorder(),
        run_dir=run_dir,
        dataset=DATASET,
        flops_per_token=flops.model_flops_per_token(model),
        peak_flops=peak_flops,
        stop=stop,
        late=late,
    )


def snapshot(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Copies of all weights and of all the optimizer's tensors, by name."""
    named = {name: p.detach().clone() for name, p in trainer.raw_model.named_parameters()}
    for name, parameter in trainer.raw_model.named_parameters():
        for key, value in trainer.optimizer.state.get(parameter, {}).items():
            named[f"{name}/{key}"] = copy.deepcopy(value)
    return named


def assert_same_tensors(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    """Every tensor equal bit by bit."""
    assert left.keys() == right.keys()
    differing = [name for name in left if not torch.equal(left[name], right[name])]
    assert differing == []

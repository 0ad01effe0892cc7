"""Checkpoints of tiny trained models, and damage done to them."""

import dataclasses
from pathlib import Path
from typing import Any

from nanogpt_cli.engine.checkpoint import save_checkpoint
from nanogpt_cli.engine.trainer import Trainer
from tests.engine.tiny import DATASET, build_trainer, tiny_config


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


def flip_last_byte(path: Path, offset: int = -1) -> None:
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 0xFF
    path.write_bytes(raw)

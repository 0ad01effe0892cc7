"""Losses without training: the quick estimate during a run, and the exact loss over a whole split."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.data.batches import Batches
from nanogpt_cli.data.token_files import Tokens
from nanogpt_cli.engine.device import Hardware, choose_hardware, has_fast_cpu_bfloat16
from nanogpt_cli.engine.distributed import Distributed
from nanogpt_cli.engine.feed import to_device
from nanogpt_cli.engine.models.base import LanguageModel, ModelConfig
from nanogpt_cli.engine.scoring import build_score


@torch.no_grad()
def estimate_loss(
    model: nn.Module,
    batches: Batches,
    *,
    batch_size: int,
    n_batches: int,
    hardware: Hardware,
    dist: Distributed,
    given_up: Callable[[], bool] = lambda: False,
) -> float | None:
    """Mean loss over `n_batches` batches spread evenly over the split, shared by all ranks.

    None where `given_up`, asked before each batch, says yes; it must say the same on all ranks.
    """
    was_training = model.training
    model.eval()
    total = torch.zeros(
        (), device=hardware.device, dtype=torch.float64 if hardware.device.type != "mps" else None
    )
    # All ranks go round equally often, as every pass through a sharded model needs all of them.
    for first in range(0, n_batches, dist.world_size):
        if given_up():
            model.train(was_training)
            return None
        index = first + dist.rank
        batch = batches.even_batch(min(index, n_batches - 1), batch_size, n_batches)
        inputs, targets = batch_to_device(batch, hardware.device)
        with hardware.autocast():
            _, loss = model(inputs, targets)
        if index < n_batches:
            total += loss
    model.train(was_training)
    return float(dist.sum(total)) / n_batches


def batch_to_device(
    batch: tuple[np.ndarray, np.ndarray], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets on the device."""
    inputs, targets = (to_device(torch.from_numpy(np.ascontiguousarray(part)), device) for part in batch)
    return inputs, targets


@dataclass(frozen=True, kw_only=True)
class SplitLoss:
    """The exact loss of a model over a text."""

    tokens: int  # predicted tokens: all but the first
    loss: float  # mean nats per token
    bits_per_byte: float | None  # None where the tokens' bytes are not known

    @property
    def ppl(self) -> float:
        """Perplexity, exp(loss); infinite where it overflows."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


def trained_format(hardware: Hardware, config: TrainConfig) -> Hardware:
    """The same device in the number format in which it trains a run of these settings, if that is faster.

    On a CPU that multiplies bfloat16 it takes half the time, and moves the loss by about as much as the
    order of the sums does in training: less than 1e-3.
    """
    if hardware.device.type != "cpu" or not has_fast_cpu_bfloat16():
        return hardware
    return choose_hardware(TrainConfig(device="cpu", dtype=config.dtype, compile=False))


def windows_at_once(config: ModelConfig, device: torch.device) -> int:
    """How many windows to evaluate side by side where nobody says.

    A CPU wants matrices of thousands of rows and a GPU of ten thousands, more brings nothing; what they make
    must fit: of the logits, the largest tensor by far, 2²⁶ numbers (256 MB in float32), on a GPU 2²⁹.
    """
    rows, numbers = (1 << 12, 1 << 26) if device.type == "cpu" else (1 << 15, 1 << 29)
    return max(1, min(rows, numbers // config.vocab_size) // config.block_size)


@torch.inference_mode()
def evaluate(
    model: LanguageModel,
    tokens: Tokens,
    *,
    hardware: Hardware,
    batch_size: int | None = None,
    token_bytes: np.ndarray | None = None,
) -> SplitLoss:
    """Token-weighted loss over every token of `tokens` (1-D ids) in windows of block_size side by side.

    Each token but the first is predicted exactly once. `token_bytes` (V,) gives the UTF-8 bytes of each id:
    bits per byte = total nats / (ln 2 · total bytes of the predicted tokens).
    """
    assert len(tokens) >= 2, "the caller checks that there is something to predict"
    was_training = model.training
    model.eval()
    batch_size = batch_size or windows_at_once(model.config, hardware.device)
    score = build_score(model, hardware)
    means, counts, n_bytes = [], [], 0
    for windows in _windows(tokens, model.config.block_size, batch_size):
        inputs, targets = batch_to_device((windows[:, :-1], windows[:, 1:]), hardware.device)
        means.append(score(inputs, targets))  # read at the end: a GPU is not waited for
        counts.append(targets.numel())
        if token_bytes is not None:
            n_bytes += int(token_bytes[windows[:, 1:]].sum())
    model.train(was_training)
    nats = math.fsum(np.array(torch.stack(means).tolist()) * counts)
    count = sum(counts)
    return SplitLoss(
        tokens=count,
        loss=nats / count,
        bits_per_byte=nats / (math.log(2) * n_bytes) if n_bytes else None,
    )


def _windows(tokens: Tokens, block_size: int, batch_size: int) -> Iterator[np.ndarray]:
    """Batches (rows, block_size + 1) int64 that overlap by one token; the remainder comes last, alone."""
    n_full = (len(tokens) - 1) // block_size
    for first in range(0, n_full, batch_size):
        starts = np.arange(first, min(first + batch_size, n_full)) * block_size
        yield tokens[starts[:, None] + np.arange(block_size + 1)].astype(np.int64)
    rest = tokens[n_full * block_size :]
    if len(rest) >= 2:
        yield np.asarray(rest, dtype=np.int64)[None, :]

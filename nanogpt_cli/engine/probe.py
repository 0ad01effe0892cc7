"""A few steps with the real model on real batches, timed and thrown away: how long a run will take here."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import nn

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.data.batches import Batches
from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.evaluate import batch_to_device
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.optim import build_optimizer, set_rates
from nanogpt_cli.events import Timing

_TIMED: Final = 3  # steps after the first, which is slower; more of short ones ...
_TIMED_SECONDS: Final = 1.0  # ... until this much was timed
_MOST_TIMED: Final = 50
# Of the peak, before anything was measured: well written training reaches about that much (nanoGPT and
# llm.c report 0.3 to 0.6 on GPUs; small models and CPUs less).
ASSUMED_MFU: Final = 0.3
_PATIENCE_SECONDS: Final = 20.0  # the probe's four steps and evaluations together, as far as the peak tells
_FORWARD_SHARE: Final = 1 / 3  # of a step's FLOPs; the backward pass is two more products for each


@dataclass(frozen=True, kw_only=True)
class Work:
    """How much a run has to do; `share` of the micro-batches and evaluation batches falls to one device."""

    micro_batches: int
    eval_batches: int  # of one split
    share: float
    flops_per_token: float
    peak_flops: float  # of one device


def timing_by_peak(config: TrainConfig, work: Work) -> Timing:
    """Without a probe: the FLOPs at `ASSUMED_MFU` of the peak."""
    micro_ms = _micro_seconds(config, work, config.batch_size) * 1000
    return _timing(work, micro_ms, 0.0, _FORWARD_SHARE * micro_ms, "estimated", rows=0, first_loss=None)


def probe_rows(config: TrainConfig, work: Work) -> int:
    """How many sequences of a micro-batch can be tried in reasonable time; 0: not one."""
    n_passes = _TIMED + 1 + (_TIMED + 1) * _FORWARD_SHARE
    one_row = n_passes * _micro_seconds(config, work, 1)
    return min(config.batch_size, int(_PATIENCE_SECONDS / one_row)) if one_row > 0 else config.batch_size


def probe(
    model: nn.Module,
    raw_model: LanguageModel,
    batches: Batches,
    config: TrainConfig,
    hardware: Hardware,
    work: Work,
    rows: int,
) -> Timing:
    """Time micro-batches of `rows` sequences, optimizer steps and evaluation batches, each by its median.

    The weights are changed: `raw_model` is the caller's to throw away. `model` is the same, perhaps compiled.
    """
    optimizer = build_optimizer(raw_model, config, hardware)
    scaler = torch.amp.GradScaler(
        hardware.device.type, enabled=hardware.dtype == torch.float16 and hardware.device.type == "cuda"
    )
    losses: list[float] = []

    def micro_batch() -> None:
        inputs, targets = batch_to_device(batches.batch(len(losses), rows), hardware.device)
        with hardware.autocast():
            loss = model(inputs, targets)[1]
        scaler.scale(loss).backward()
        losses.append(float(loss.detach()))

    def step() -> None:
        set_rates(optimizer, 0, config)
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(raw_model.parameters(), config.grad_clip or 1.0)
        scaler.step(optimizer)
        scaler.update()

    @torch.no_grad()
    def eval_batch() -> None:
        inputs, targets = batch_to_device(batches.even_batch(0, rows, 1), hardware.device)
        with hardware.autocast():
            raw_model(inputs, targets)

    raw_model.train()
    micro_ms = _median_ms(micro_batch, hardware)
    step_ms = _median_ms(step, hardware)
    raw_model.zero_grad(set_to_none=True)
    raw_model.eval()
    eval_ms = _median_ms(eval_batch, hardware)
    scale = config.batch_size / rows
    basis: Literal["measured", "scaled"] = "measured" if rows == config.batch_size else "scaled"
    return _timing(work, scale * micro_ms, step_ms, scale * eval_ms, basis, rows=rows, first_loss=losses[0])


def _timing(
    work: Work,
    micro_ms: float,
    step_ms: float,
    eval_batch_ms: float,
    basis: Literal["measured", "scaled", "estimated"],
    *,
    rows: int,
    first_loss: float | None,
) -> Timing:
    return Timing(
        iter_ms=work.share * work.micro_batches * micro_ms + step_ms,
        eval_ms=2 * work.share * work.eval_batches * eval_batch_ms,
        basis=basis,
        probe_rows=rows,
        first_loss=first_loss,
    )


def _micro_seconds(config: TrainConfig, work: Work, rows: int) -> float:
    return rows * config.block_size * work.flops_per_token / (ASSUMED_MFU * work.peak_flops)


def _median_ms(action: Callable[[], None], hardware: Hardware) -> float:
    """Of at least three runs of `action`, after one that does not count."""
    action()
    hardware.synchronize()
    times: list[float] = []
    while len(times) < _TIMED or (sum(times) < _TIMED_SECONDS and len(times) < _MOST_TIMED):
        start = time.perf_counter()
        action()
        hardware.synchronize()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)

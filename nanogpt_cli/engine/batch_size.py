"""`--batch-size auto`: the largest micro-batch that fits, with the same sequences per iteration as before.

What the layers below the "auto" ask for, batch_size times gradient_accumulation_steps, is kept, so the
training is the same up to rounding. The estimate of the memory chooses; a real pass, forward and backward,
has to agree, and is repeated with less until it does.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Final

import torch

from nanogpt_cli.config.load import LoadedConfig
from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.distributed import Distributed
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.out_of_memory import (
    estimator,
    free_for_one,
    in_pieces,
    in_words,
    is_out_of_memory,
    largest_below,
    local_processes,
    micro_batches,
)
from nanogpt_cli.errors import NanoGPTError, UsageError
from nanogpt_cli.events import Notice, Reporter

_SHARE: Final = 0.8  # of the free memory: evaluation, other programs and the estimate's error need the rest
ORIGIN: Final = "batch_size auto"
ALONE: Final = Distributed()


def choose_batch_size(
    loaded: LoadedConfig,
    vocab_size: int,
    hardware: Hardware,
    reporter: Reporter,
    *,
    processes: int,
    dist: Distributed = ALONE,
    model: LanguageModel | None = None,
) -> LoadedConfig:
    """The configuration with batch_size, gradient_accumulation_steps and eval_iters as numbers.

    `processes` share the work, and all ranks of `dist` choose the same. A dry run is alone and has no `model`
    to try the choice with. Raises NanoGPTError where not even one sequence fits.
    """
    wanted = dataclasses.replace(loaded.config, batch_size=loaded.kept_batch_size)
    sequences = wanted.batch_size * wanted.gradient_accumulation_steps
    if sequences % processes:
        raise UsageError(
            f"{sequences} sequences per iteration cannot be divided among {processes} processes",
            f"use a multiple: --batch-size auto --gradient-accumulation-steps {processes}",
        )
    sizes = micro_batches(sequences, processes)
    free = free_for_one(hardware, local_processes(processes))
    estimate = estimator(vocab_size, hardware, processes)
    if free is None:  # a system that does not tell: what was asked for, then less
        sizes = [size for size in sizes if size <= wanted.batch_size]
        found = (sizes[-1], estimate(in_pieces(wanted, sizes[-1])))
    else:
        limit = _least(_SHARE * free, hardware, dist)
        best = largest_below(limit, sizes, lambda size: estimate(in_pieces(wanted, size)))
        if best is None:
            one = in_words(estimate(in_pieces(wanted, 1)))
            raise NanoGPTError(
                f"not even one sequence at a time fits: about {one} are needed, {in_words(free)} are free",
                "a shorter context or a smaller model: --block-size, --n-layer, --n-embd, --preset cpu-tiny",
            )
        found = best
    if model is not None and wanted.strategy != "fsdp":
        fitting = [size for size in sizes if size <= found[0]]
        size = tried(fitting, lambda size: _pass(model, wanted, size, hardware), dist, hardware)
        found = (size, estimate(in_pieces(wanted, size)))
    size, n_bytes = found
    chosen = in_pieces(wanted, size)
    steps = chosen.gradient_accumulation_steps
    room = f" of {in_words(free)} free" if free is not None else ""
    reporter.emit(
        Notice(
            message=f"batch_size auto: {size} sequences at once (about {in_words(n_bytes)}{room}) × {steps} "
            f"micro-batch{'es' if steps > 1 else ''} = {sequences} sequences per iteration, as set"
        )
    )
    return loaded.replace(
        ORIGIN,
        batch_size=size,
        gradient_accumulation_steps=steps,
        # An evaluation sees as much text as it would have.
        eval_iters=math.ceil(wanted.eval_iters * wanted.batch_size / size),
    )


def tried(sizes: list[int], attempt: Callable[[int], None], dist: Distributed, hardware: Hardware) -> int:
    """The largest of the rising `sizes` for which `attempt` finds the memory on every rank."""
    for size in reversed(sizes):
        failed = False
        try:
            attempt(size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            failed = True
        if not dist.any(failed, hardware.device):
            return size
        if hardware.device.type == "cuda":
            torch.cuda.empty_cache()
    raise MemoryError("not even one sequence at a time fits")


def _pass(model: LanguageModel, config: TrainConfig, size: int, hardware: Hardware) -> None:
    """Forward and backward with `size` sequences, and as much memory beside it as the optimizer will take."""
    model.to(hardware.device)
    moments = [torch.empty_like(p) for p in model.parameters() if p.requires_grad for _ in range(2)]
    idx = torch.zeros(size, config.block_size, dtype=torch.int64, device=hardware.device)
    # Dropout draws: the state of the generators is as before, so that the run is what it would have been.
    devices = [hardware.device] if hardware.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            model.train()
            with hardware.autocast():
                loss = model(idx, idx)[1]
            loss.backward()
            hardware.synchronize()
    finally:
        del moments
        model.zero_grad(set_to_none=True)


def _least(limit: float, hardware: Hardware, dist: Distributed) -> float:
    """The smallest rank's `limit`, on every rank."""
    if dist.world_size == 1:
        return limit
    each = torch.zeros(dist.world_size, device=hardware.device)
    each[dist.rank] = limit
    return float(dist.sum(each).min())

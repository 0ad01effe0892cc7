"""When memory has run out: the three cheapest changes that would fit, estimated for this very run.

Cheapest first: what trains the same model on the same batches, then what only computes differently, then a
shorter context and a smaller model. A change is offered only where its estimate fits into what is free.
"""

import gc
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch

from nanogpt_cli.config.schema import SETTINGS, TrainConfig, contradictions
from nanogpt_cli.engine.checkpoint import list_checkpoints
from nanogpt_cli.engine.device import DTYPES, Hardware, choose_hardware, has_fast_cpu_bfloat16
from nanogpt_cli.engine.free_memory import available_memory
from nanogpt_cli.engine.memory import estimate_memory
from nanogpt_cli.errors import NanoGPTError

_OFFERS: Final = 3
_SPARE: Final = 0.9  # of the free memory: the estimate errs by as much
_CLEARLY_LESS: Final = 0.8  # than what failed, where the estimate says that it should have fitted
_SHORTEST_BLOCK: Final = 16
_PIECES: Final = "the same training in smaller pieces"

Estimate = Callable[[TrainConfig], int]  # bytes of one process


@dataclass(kw_only=True)
class Attempt:
    """What a run is made of so far; filled in while it is put together."""

    config: TrainConfig
    run_dir: Path
    vocab_size: int
    world_size: int = 1
    hardware: Hardware | None = None
    free_bytes: int | None = None  # before the run took any


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One change, its reason in words, and the bytes it comes to."""

    config: TrainConfig
    flags: str
    why: str
    n_bytes: int


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device, or the machine, has no more memory to give."""
    # On a CPU torch has no class for it: "DefaultCPUAllocator: can't allocate memory: you tried to …".
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def out_of_memory(attempt: Attempt) -> NanoGPTError:
    """The error that says what was needed, what is free, and what would fit.

    To be called where the failed run's tensors are gone: outside of the handler that caught its exception.
    """
    gc.collect()
    config = attempt.config
    what = f"out of memory with batch_size = {config.batch_size} and block_size = {config.block_size}"
    try:
        hardware = attempt.hardware or choose_hardware(config)
        if hardware.device.type == "cuda":
            torch.cuda.empty_cache()
        free = free_for_one(hardware, local_processes(attempt.world_size), attempt.free_bytes)
        estimate = estimator(attempt.vocab_size, hardware, attempt.world_size)
        needed = estimate(config)
        offers = cheapest_offers(attempt, hardware, estimate, needed, free)
    except (RuntimeError, MemoryError):  # so little memory is left that even the estimate finds none
        return NanoGPTError(what, "close other programs, or choose a smaller model: --preset cpu-tiny")
    told = f"{what}: the run needs about {in_words(needed)}"
    told += f", {in_words(free)} are free" if free is not None else ""
    if not offers and free is not None and needed < free:
        return NanoGPTError(told, "another program may have had it: look at what runs, then start again")
    if not offers:
        smaller = "nothing smaller of this model fits: close other programs, or --preset cpu-tiny"
        return NanoGPTError(told, smaller)
    details = tuple(f"{offer.flags}  ({offer.why}: about {in_words(offer.n_bytes)})" for offer in offers)
    return NanoGPTError(told, f"{_command(attempt)} {offers[0].flags}", details=details)


def cheapest_offers(
    attempt: Attempt, hardware: Hardware, estimate: Estimate, needed: int, free: int | None
) -> list[Offer]:
    """`cheapest_changes` for a run that needs `needed` bytes where `free` are free, or did not suffice."""
    return cheapest_changes(
        attempt.config,
        estimate,
        limit=_limit(needed, free),
        world_size=attempt.world_size,
        bfloat16=_computes_bfloat16(hardware),
        fixed_shape=attempt.config.init_from != "scratch" or bool(list_checkpoints(attempt.run_dir)),
    )


def cheapest_changes(
    config: TrainConfig,
    estimate: Estimate,
    *,
    limit: float,
    world_size: int,
    bfloat16: bool,
    fixed_shape: bool,
) -> list[Offer]:
    """At most three changes whose estimate is below `limit` bytes, the cheapest first.

    `bfloat16`: the device computes in it and the run did not. `fixed_shape`: given weights or a checkpoint
    decide the model's shape, which then cannot be changed.
    """
    found: list[Offer] = []
    for changed, why in _candidates(
        config, world_size=world_size, bfloat16=bfloat16, fixed_shape=fixed_shape
    ):
        if any(why == offer.why for offer in found) or contradictions(changed):
            continue
        # What fits in smaller pieces needs nothing beside them.
        in_smaller = not found or found[0].why != _PIECES
        fitting = _fitting(changed, config, estimate, limit, why, world_size if in_smaller else None)
        if fitting is not None:
            found.append(fitting)
        if len(found) == _OFFERS:
            break
    return found


def micro_batches(sequences: int, world_size: int) -> list[int]:
    """The micro-batches, smallest first, that make `sequences` per iteration on `world_size` processes."""
    each = sequences // world_size
    return [size for size in range(1, each + 1) if each % size == 0]


def in_pieces(config: TrainConfig, batch_size: int) -> TrainConfig:
    """The same global batch in micro-batches of another size."""
    sequences = config.batch_size * config.gradient_accumulation_steps
    return replace(config, batch_size=batch_size, gradient_accumulation_steps=sequences // batch_size)


def largest_below(limit: float, sizes: list[int], estimate: Callable[[int], int]) -> tuple[int, int] | None:
    """The largest of the rising `sizes` whose estimate is at most `limit`, with it; None where none is."""
    low, high = 0, len(sizes)
    best: tuple[int, int] | None = None
    while low < high:
        middle = (low + high) // 2
        n_bytes = estimate(sizes[middle])
        if n_bytes <= limit:
            best, low = (sizes[middle], n_bytes), middle + 1
        else:
            high = middle
    return best


def estimator(vocab_size: int, hardware: Hardware, world_size: int) -> Estimate:
    """`estimate_memory`'s total of a configuration for one process, each computed once."""
    known: dict[TrainConfig, int] = {}

    def estimate(config: TrainConfig) -> int:
        if config not in known:
            dtype = DTYPES.get(config.dtype, hardware.dtype)
            found = estimate_memory(config, vocab_size, replace(hardware, dtype=dtype))
            divided = world_size if config.strategy == "fsdp" else 1
            known[config] = found.activations_bytes + found.lasting_bytes // divided
        return known[config]

    return estimate


def free_for_one(hardware: Hardware, processes: int, before: int | None = None) -> int | None:
    """Bytes free for one of this machine's `processes`, which share what a CPU has.

    `before` is what was free before the run began: some of what it had taken may not have come back yet.
    """
    free = available_memory(hardware.device)
    if free is None or hardware.device.type != "cpu":
        return free
    return max(free, before or 0) // processes


def local_processes(world_size: int) -> int:
    """How many of the run's processes are on this machine; all of them where torchrun does not tell."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world_size))


def in_words(n_bytes: float) -> str:
    """`5.1 GB`, `740 MB`."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def _candidates(
    config: TrainConfig, *, world_size: int, bfloat16: bool, fixed_shape: bool
) -> Iterator[tuple[TrainConfig, str]]:
    yield config, _PIECES
    if world_size > 1 and config.strategy != "fsdp":
        yield replace(config, strategy="fsdp"), "weights and optimizer divided among the processes"
    if bfloat16:
        yield replace(config, dtype="bfloat16"), "matrix products in bfloat16"
    if fixed_shape:
        return
    block = config.block_size // 2
    while block >= _SHORTEST_BLOCK:
        steps = config.gradient_accumulation_steps * (config.block_size // block)
        yield (
            replace(config, block_size=block, gradient_accumulation_steps=steps),
            "a shorter context, as many tokens per iteration",
        )
        block //= 2
    for part in (2, 4, 8):
        if config.n_layer >= part:
            yield replace(config, n_layer=config.n_layer // part), "a model of fewer layers"
    for part in (2, 4, 8):
        width = config.n_embd // part // config.n_head * config.n_head
        if width >= config.n_head:
            yield replace(config, n_embd=width), "a narrower model"


def _fitting(
    changed: TrainConfig, was: TrainConfig, estimate: Estimate, limit: float, why: str, world_size: int | None
) -> Offer | None:
    """The change alone where it fits, else with the largest micro-batch of `world_size` processes."""
    if changed != was and (n_bytes := estimate(changed)) <= limit:
        return Offer(config=changed, flags=_flags(changed, was), why=why, n_bytes=n_bytes)
    sequences = changed.batch_size * changed.gradient_accumulation_steps
    if world_size is None or sequences % world_size:
        return None
    smaller = [size for size in micro_batches(sequences, world_size) if size < changed.batch_size]
    best = largest_below(limit, smaller, lambda size: estimate(in_pieces(changed, size)))
    if best is None:
        return None
    config = in_pieces(changed, best[0])
    return Offer(config=config, flags=_flags(config, was), why=why, n_bytes=best[1])


def _flags(config: TrainConfig, was: TrainConfig) -> str:
    def differs(name: str) -> bool:
        return bool(getattr(config, name) != getattr(was, name))

    return " ".join(f"{s.flag} {getattr(config, name)}" for name, s in SETTINGS.items() if differs(name))


def _limit(needed: int, free: int | None) -> float:
    limits = [_CLEARLY_LESS * needed] + ([_SPARE * free] if free is not None else [])
    return min(limits)


def _computes_bfloat16(hardware: Hardware) -> bool:
    if hardware.dtype != torch.float32:
        return False
    if hardware.device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return hardware.device.type == "cpu" and has_fast_cpu_bfloat16()


def _command(attempt: Attempt) -> str:
    if list_checkpoints(attempt.run_dir):
        return f"nanogpt train --resume --out-dir {attempt.run_dir}"
    return "the same command, and the first of these:"

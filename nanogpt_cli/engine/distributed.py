"""Several processes as torchrun starts them, or one: the rank, the sums, and the gradient synchronisation."""

import atexit
import contextlib
import gc
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nanogpt_cli.engine.sharded import is_sharded
from nanogpt_cli.errors import LostPeerError, UsageError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Distributed:
    """This process among its peers; a single process is rank 0 of 1 and needs no process group."""

    rank: int = 0
    local_rank: int | None = None
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """The sum of `value` over all ranks, on every rank."""
        if self.world_size > 1:
            torch.distributed.all_reduce(value)
        return value

    def concatenate(self, value: Tensor) -> Tensor:
        """The `value` (n, ...) of every rank, one below the other in the ranks' order, on every rank."""
        if self.world_size == 1:
            return value
        values = [torch.empty_like(value) for _ in range(self.world_size)]
        torch.distributed.all_gather(values, value.contiguous())
        return torch.cat(values)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether any rank says yes; all ranks get the same answer."""
        if self.world_size == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=device)))

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world_size > 1:
            torch.distributed.barrier()

    def from_main(self, make: Callable[[], T]) -> T:
        """What `make` gives on rank 0, on every rank; where it fails there, it fails on all.

        An OSError is an OSError everywhere, because a run survives it; any other is rank 0's to tell.
        """
        if self.world_size == 1:
            return make()
        told: list[Any] = [None, None]
        error: Exception | None = None
        if self.is_main:
            try:
                told[0] = make()
            except Exception as caught:  # raised again below, once the others know
                error = caught
                told[1] = (isinstance(caught, OSError), str(caught))
        torch.distributed.broadcast_object_list(told)
        if error is not None:
            raise error
        if told[1] is not None:
            survivable, text = told[1]
            if survivable:
                raise OSError(text)
            raise LostPeerError("process 0 of this run cannot go on", f"see what it said: {text}")
        return cast("T", told[0])

    def gather(self, value: T) -> list[T]:
        """The `value` of every rank, in their order, on every rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(values, value)
        return values

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Average gradients over the ranks (DistributedDataParallel) when there are several."""
        if self.world_size == 1:
            return model
        return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)

    @contextlib.contextmanager
    def gradient_sync(self, model: nn.Module, enabled: bool) -> Iterator[None]:
        """Synchronise gradients in this backward pass only if `enabled`: the last micro-batch needs it."""
        if is_sharded(model):
            cast("Any", model).set_requires_gradient_sync(enabled)
            yield
        elif isinstance(model, DistributedDataParallel) and not enabled:
            with model.no_sync():
                yield
        else:
            yield


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Scale the gradients down to the norm `limit`; their norm before that, of all ranks' shards together."""
    measure = getattr(nn.utils, "get_total_norm", None)  # torch 2.6 and later
    if measure is not None and limit == math.inf:
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm: Tensor = measure(gradients)  # without multiplying all of them by one
    else:
        norm = nn.utils.clip_grad_norm_(parameters, limit)
    # Of shards it is each rank's part of the sum, which is added up only when asked for.
    return cast("Any", norm).full_tensor() if hasattr(norm, "full_tensor") else norm


def from_environment() -> Distributed:
    """Rank and world size as torchrun sets them."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return Distributed()
    return Distributed(
        rank=int(os.environ["RANK"]),
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        world_size=int(os.environ["WORLD_SIZE"]),
    )


@contextlib.contextmanager
def process_group(dist: Distributed, backend: str, device: torch.device) -> Iterator[None]:
    """Join the process group for the time of the block; nothing to do for one process."""
    if dist.world_size == 1:
        yield
        return
    name = ("nccl" if device.type == "cuda" else "gloo") if backend == "auto" else backend
    if name == "nccl" and device.type != "cuda":
        raise UsageError("the nccl backend needs GPUs", "use --backend gloo, or leave --backend out")
    each = [part.rpartition(":")[2] for part in name.split(",")]  # one name, or as in cpu:gloo,cuda:nccl
    if not all(torch.distributed.is_backend_available(part) for part in each):
        raise UsageError(
            f"this PyTorch has no torch.distributed backend {name!r}",
            "use --backend gloo, nccl on GPUs, or leave --backend out",
        )
    torch.distributed.init_process_group(backend=name)
    _left_groups.append(torch.distributed.group.WORLD)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


# Groups whose models may still be there. DistributedDataParallel sits in a reference cycle and holds its
# group, which must outlive it. Freed by DDP's reducer, a group waits for gloo's threads with the GIL held,
# and one of them may wait for the GIL: a run that went well hangs at its end. Freed as Python shuts down, it
# now and then aborts the process ("terminate called …"). Freed from Python, it first lets go of the GIL.
_left_groups: list[object] = []


@atexit.register
def free_groups() -> None:
    """Free the models that ran in groups, then the groups; nothing else may still hold such a model."""
    gc.collect()
    _left_groups.clear()


def is_lost_connection(error: Exception) -> bool:
    """Whether a collective failed because another process is gone; gloo has no exception of its own."""
    if isinstance(error, torch.distributed.DistError):
        return True
    text = str(error)
    return "gloo" in text or "Connection closed by peer" in text or "Connection reset by peer" in text


def micro_batches_per_rank(gradient_accumulation_steps: int, world_size: int) -> int:
    """This process's share of the micro-batches of an iteration, as nanoGPT divides them."""
    if gradient_accumulation_steps % world_size:
        raise UsageError(
            f"gradient_accumulation_steps = {gradient_accumulation_steps} cannot be divided among "
            f"{world_size} processes",
            f"use a multiple of {world_size}: --gradient-accumulation-steps {world_size}",
        )
    return gradient_accumulation_steps // world_size

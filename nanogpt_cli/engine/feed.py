"""Brings the batches of a run to its device: the text lies there, or somebody fetches them ahead of time.

Which windows an iteration reads is `Batches`' affair, which draws them from (seed, iteration) alone; so a
feed has no state worth saving, may read ahead as it likes, and gives the same batches wherever it starts.
Each gives an iteration's micro-batches from one gather.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor

from nanogpt_cli.data.batches import Batches
from nanogpt_cli.data.token_files import Tokens
from nanogpt_cli.engine.free_memory import available_memory

MicroBatches = list[tuple[Tensor, Tensor]]  # inputs and targets, each (B, T) int64

# The text stays on the GPU where it takes little of it, and is read in a second or two: GPT-2 ids of 4 GB.
_MOST_RESIDENT_BYTES: Final = 2 << 30
_RESIDENT_SHARE: Final = 0.125
_COPIED_AT_ONCE: Final = 1 << 26  # tokens
# Small iterations are drawn several at a time: between two of them the caches forget all of this code.
_AHEAD_TOKENS: Final = 1 << 14
_MOST_AHEAD: Final = 16
# Signed types of the same width: a GPU can gather those, and not torch.uint16 or uint32.
_SIGNED: Final = {2: (np.int16, 0xFFFF), 4: (np.int32, 0xFFFF_FFFF)}


class Feed(Protocol):
    """Where a run's batches come from."""

    def micro_batches(self, iter_num: int) -> MicroBatches:
        """This rank's micro-batches of an iteration, on the device."""

    def close(self) -> None:
        """Let go of threads; nothing is asked for afterwards."""


@dataclass(frozen=True, kw_only=True)
class Portion:
    """What one rank reads of every iteration: `micro_batches` times `batch_size` rows of the global batch."""

    batches: Batches
    batch_size: int
    micro_batches: int
    rank: int = 0
    world_size: int = 1

    @property
    def rows(self) -> int:
        """Windows of an iteration."""
        return self.micro_batches * self.batch_size

    def starts(self, iter_num: int, count: int = 1) -> np.ndarray:
        """First positions of the windows of `count` iterations, (count, rows) int64."""
        rows = slice(self.rank * self.rows, (self.rank + 1) * self.rows)
        drawn = range(iter_num, iter_num + count)
        return np.stack([self.batches.starts(i, self.rows * self.world_size)[rows] for i in drawn])

    def ahead(self) -> int:
        """How many iterations are drawn at once."""
        return max(1, min(_MOST_AHEAD, _AHEAD_TOKENS // (self.rows * self.batches.block_size)))

    def split(self, windows: Tensor) -> MicroBatches:
        """Windows (rows, T + 1) of an iteration → its micro-batches; targets are one token ahead."""
        inputs, targets = windows[:, :-1].contiguous(), windows[:, 1:].contiguous()
        return list(
            zip(torch.split(inputs, self.batch_size), torch.split(targets, self.batch_size), strict=True)
        )


def feed_for(portion: Portion, device: torch.device) -> Feed:
    """The feed that suits the device and the size of the text."""
    if device.type != "cuda":
        return HostFeed(portion, device)
    tokens = portion.batches.tokens
    n_bytes = len(tokens) * tokens[0:1].dtype.itemsize
    free = available_memory(device) or 0
    if n_bytes <= min(_MOST_RESIDENT_BYTES, _RESIDENT_SHARE * free):
        return ResidentFeed(portion, device)
    return PrefetchFeed(portion, device)


class HostFeed:
    """Gathers on the host: all a CPU needs. Small iterations are gathered several at once."""

    def __init__(self, portion: Portion, device: torch.device) -> None:
        self._portion = portion
        self._device = device
        self._first = 0
        self._ready: list[MicroBatches] = []

    def micro_batches(self, iter_num: int) -> MicroBatches:
        """See `Feed`."""
        if not self._first <= iter_num < self._first + len(self._ready):
            self._first, self._ready = iter_num, self._gather(iter_num)
        return self._ready[iter_num - self._first]

    def _gather(self, iter_num: int) -> list[MicroBatches]:
        starts = self._portion.starts(iter_num, self._portion.ahead())
        windows = torch.from_numpy(self._portion.batches.windows(starts.ravel()).astype(np.int64))
        each = torch.split(windows.to(self._device), self._portion.rows)
        return [self._portion.split(part) for part in each]

    def close(self) -> None:
        """Nothing to let go of."""


class ResidentFeed:
    """The whole split lies on the device, and only the windows' first positions travel there."""

    def __init__(self, portion: Portion, device: torch.device) -> None:
        self._portion = portion
        self._device = device
        self._tokens, self._mask = resident(portion.batches.tokens, device)
        self._reach = torch.arange(portion.batches.block_size + 1, device=device)
        self._first = 0
        self._starts = torch.empty(0, portion.rows, dtype=torch.int64, device=device)

    def micro_batches(self, iter_num: int) -> MicroBatches:
        """See `Feed`."""
        if not self._first <= iter_num < self._first + len(self._starts):
            starts = torch.from_numpy(self._portion.starts(iter_num, self._portion.ahead()))
            self._first, self._starts = iter_num, to_device(starts, self._device)
        starts = self._starts[iter_num - self._first]
        windows = self._tokens[starts.unsqueeze(1) + self._reach]  # (rows, T + 1)
        return self._portion.split(widened(windows, self._mask))

    def close(self) -> None:
        """Nothing to let go of."""


class PrefetchFeed:
    """A thread gathers the next iteration while the device is busy with this one, and sends it ahead.

    On a GPU the ids go through pinned memory, on a stream of their own, in the width they have in the file.
    What goes wrong in the thread is raised where its batch is asked for.
    """

    def __init__(self, portion: Portion, device: torch.device) -> None:
        self._portion = portion
        self._device = device
        self._mask = _SIGNED[portion.batches.tokens[0:1].dtype.itemsize][1]
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's own
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._next: tuple[int, Future[tuple[Tensor, torch.cuda.Event | None]]] | None = None

    def micro_batches(self, iter_num: int) -> MicroBatches:
        """See `Feed`."""
        ahead, self._next = self._next, None
        if ahead is None or ahead[0] != iter_num:
            ahead = iter_num, self._thread.submit(self._fetch, iter_num)
        ids, sent = ahead[1].result()
        self._next = iter_num + 1, self._thread.submit(self._fetch, iter_num + 1)
        if sent is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(sent)
            ids.record_stream(current)  # its memory must not be reused before this stream has read it
        return self._portion.split(widened(ids, self._mask))

    def _fetch(self, iter_num: int) -> tuple[Tensor, torch.cuda.Event | None]:
        starts = self._portion.starts(iter_num)[0]
        ids = torch.from_numpy(as_signed(self._portion.batches.windows(starts)))
        if self._stream is None:
            return ids.to(self._device), None
        with torch.cuda.stream(self._stream):
            on_device = to_device(ids, self._device)
            sent = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch's own
            sent.record(self._stream)
        return on_device, sent

    def close(self) -> None:
        """End the thread; a batch that nobody will ask for is dropped."""
        self._next = None
        self._thread.shutdown(wait=True, cancel_futures=True)


def resident(tokens: Tokens, device: torch.device) -> tuple[Tensor, int]:
    """All ids on the device in a signed type of their width, (tokens,), and the mask that `widened` needs."""
    signed, mask = _SIGNED[tokens[0:1].dtype.itemsize]
    whole = torch.empty(len(tokens), dtype=torch.from_numpy(np.empty(0, signed)).dtype, device=device)
    for first in range(0, len(tokens), _COPIED_AT_ONCE):
        part = as_signed(tokens[first : first + _COPIED_AT_ONCE])
        whole[first : first + len(part)] = torch.from_numpy(part)
    return whole, mask


def as_signed(ids: np.ndarray) -> np.ndarray:
    """The same bits as signed integers, in an array of its own."""
    signed, _ = _SIGNED[ids.dtype.itemsize]
    native = np.array(ids, dtype=ids.dtype.newbyteorder("="))
    return native.view(signed)


def widened(signed: Tensor, mask: int) -> Tensor:
    """The ids again, as int64, of what `as_signed` gave."""
    return signed.to(torch.int64).bitwise_and_(mask)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy on the device; to a GPU through pinned memory, so that nobody waits for it."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)

"""Keeps what is not finite from the weights, without the host waiting for the device in every iteration.

On a CPU the loss and the gradient's norm are simply read. On a GPU that would let the queue of work run dry
each time: there the device itself turns the optimizer's step into nothing, and the host is told some
iterations later, through pinned memory. What the ranks must agree on travels in the same sum: who found
something, and whether somebody was asked to stop.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from nanogpt_cli.engine.distributed import Distributed

# Two iterations are queued before the host needs an answer: enough to hide its own work behind the device's.
LATE_ITERS: Final = 2


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found in one iteration, on all ranks."""

    iter_num: int
    tokens_seen: int  # before the iteration
    loss: Tensor  # of this rank, on the device, as `grad_norm`
    grad_norm: Tensor
    values: tuple[float, float]  # the same two, read
    finite: bool
    stop: bool  # some rank was asked to stop; known here only where verdicts are late


@dataclass(frozen=True, kw_only=True)
class _Asked:
    iter_num: int
    tokens_seen: int
    loss: Tensor
    grad_norm: Tensor
    numbers: Tensor  # (4,): ranks that found something, ranks asked to stop, loss, norm
    ready: torch.cuda.Event | None


class Guard:
    """Judges iterations at once (`late` 0), or `late` iterations after they were done.

    With `once` everything after the first bad iteration is kept from the weights as well, so that a run which
    stops there leaves them as that iteration found them.
    """

    def __init__(
        self, *, device: torch.device, dist: Distributed, late: int, once: bool, scaled: bool = False
    ) -> None:
        assert not (late and scaled), "a GradScaler reads the device itself"
        self.late = late
        self._device = device
        self._dist = dist
        self._once = once
        self._scaled = scaled
        self._asked: deque[_Asked] = deque()
        self._found = torch.zeros((), device=device)
        # One place to write to for every answer that can be on its way.
        self._places = [torch.zeros(4, pin_memory=device.type == "cuda") for _ in range(late + 1)]

    def judge(self, iter_num: int, tokens_seen: int, loss: Tensor, grad_norm: Tensor) -> Verdict:
        """The verdict, now. Note: this reads the device."""
        values = float(loss), float(grad_norm)
        # With a GradScaler an infinite gradient is routine: it skips the step and lowers the scale.
        healthy = math.isfinite(values[0]) and (self._scaled or math.isfinite(values[1]))
        return Verdict(
            iter_num=iter_num,
            tokens_seen=tokens_seen,
            loss=loss,
            grad_norm=grad_norm,
            values=values,
            finite=not self._dist.any(not healthy, self._device),
            stop=False,
        )

    def ask(self, iter_num: int, tokens_seen: int, loss: Tensor, grad_norm: Tensor, *, stop: bool) -> Tensor:
        """1 on the device where the optimizer must do nothing, else 0; the verdict comes later."""
        bad = (loss.isfinite() & grad_norm.isfinite()).logical_not().to(torch.float32)
        # A number becomes a tensor by filling it there: nothing is copied, and so nothing waited for.
        asked = torch.full((), float(stop), device=self._device)
        flags = self._dist.sum(torch.stack((bad, asked)))
        found = flags[0].clamp(max=1.0)
        if self._once:
            found = self._found = torch.maximum(self._found, found)
        place = self._places[iter_num % len(self._places)]
        place.copy_(torch.stack((*flags, loss, grad_norm)), non_blocking=True)
        ready = None
        if self._device.type == "cuda":
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch's own
            ready.record()
        self._asked.append(
            _Asked(
                iter_num=iter_num,
                tokens_seen=tokens_seen,
                loss=loss,
                grad_norm=grad_norm,
                numbers=place,
                ready=ready,
            )
        )
        return found

    def verdicts(self, *, all_of_them: bool) -> list[Verdict]:
        """Those that are due, in order: of iterations at least `late` ago, or of all.

        By age and never by whether they are there already: all ranks must act at the same iteration.
        """
        due = []
        while self._asked and (all_of_them or len(self._asked) > self.late):
            asked = self._asked.popleft()
            if asked.ready is not None:
                asked.ready.synchronize()
            found, stop, loss, grad_norm = asked.numbers.tolist()
            due.append(
                Verdict(
                    iter_num=asked.iter_num,
                    tokens_seen=asked.tokens_seen,
                    loss=asked.loss,
                    grad_norm=asked.grad_norm,
                    values=(loss, grad_norm),
                    finite=not found,
                    stop=bool(stop),
                )
            )
        return due

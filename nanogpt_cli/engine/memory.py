"""How much memory a training step needs, without needing it: the step is done on tensors without storage.

Every tensor that would be allocated, and when it would be freed again, is followed through the forward and
the backward pass; the estimate is the largest sum. It is of this process beside what the program itself
takes, and as PyTorch would run the model without compiling it, which needs less.
"""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.models.registry import new_model
from nanogpt_cli.engine.muon import split_parameters
from nanogpt_cli.engine.start import model_shape

_FLOAT32_BYTES: Final = 4
# On a CPU freed blocks stay in the C library's heaps (see data.allocator), where not every gap is filled
# again, of small blocks more often than of large ones. With these two factors the estimate is 0.90 to 1.11 of
# the truth for cpu-tiny, cpu-best, shakespeare-char and gpt2-124m. CUDA's allocator reuses its blocks.
_CPU_SMALL_FACTOR: Final = 1.3
_CPU_LARGE_FACTOR: Final = 1.1
_LARGE_BYTES: Final = 32 << 20
_CPU_LIBRARIES_BYTES: Final = 16 << 20  # pages of the matrix libraries that the first step touches


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes at the peak of an iteration, of one process, beside what the program itself takes."""

    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int  # of one micro-batch: all that the two passes need beside the three above

    @property
    def lasting_bytes(self) -> int:
        """What depends on the model alone, and --strategy fsdp divides among the processes."""
        return self.weights_bytes + self.gradients_bytes + self.optimizer_bytes

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.lasting_bytes + self.activations_bytes


def estimate_memory(config: TrainConfig, vocab_size: int, hardware: Hardware) -> MemoryEstimate:
    """The estimate for a model of `vocab_size` embedding rows, in a second or two whatever its size."""
    on_cpu = hardware.device.type == "cpu"
    ledger = _Ledger(on_cpu=on_cpu)
    with FakeTensorMode(), hardware.device:
        model = new_model(model_shape(config, vocab_size)).train()
        for parameter in model.parameters():
            ledger.enter(parameter)
        with ledger:
            # A second micro-batch meets the gradients of the first.
            for _ in range(min(2, config.gradient_accumulation_steps)):
                idx = torch.zeros(config.batch_size, config.block_size, dtype=torch.int64)
                with hardware.autocast():
                    loss = model(idx, idx)[1]
                loss.backward()
    parameters = list(model.parameters())
    # Tables that are moved by rows have neither gradient nor moments.
    trained = [p for p in parameters if p.requires_grad]
    matrices = split_parameters(model).matrices if config.optimizer == "muon" else []
    weights, gradients = ledger.resident(parameters), ledger.resident(trained)
    # Muon keeps one moment of a matrix, AdamW two.
    moments = 2 * gradients - ledger.resident(matrices)
    total = moments + max(ledger.peak, weights + gradients) + (_CPU_LIBRARIES_BYTES if on_cpu else 0)
    lasting = _size(parameters) + 3 * _size(trained) - _size(matrices)
    return MemoryEstimate(
        weights_bytes=_size(parameters),
        gradients_bytes=_size(trained),
        optimizer_bytes=2 * _size(trained) - _size(matrices),
        activations_bytes=round(total) - lasting,
    )


class _Ledger(TorchDispatchMode):
    """Adds up the storages that are alive while operations run inside it."""

    def __init__(self, *, on_cpu: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own has no annotations
        self.peak = 0.0
        self._on_cpu = on_cpu
        self._now = 0.0
        self._alive: set[int] = set()  # keys of storages, which a later one can inherit once it is freed

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operation and enter what it made."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self.enter(leaf)
        return made

    def enter(self, tensor: Tensor) -> None:
        """Count the tensor's storage, once, until it is freed."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, self._block(storage.nbytes())
        if key in self._alive:
            return
        self._alive.add(key)
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: float) -> None:
        self._alive.discard(key)
        self._now -= size

    def resident(self, tensors: Sequence[Tensor]) -> float:
        """What blocks of these sizes come to in the process's size."""
        return sum(self._block(tensor.untyped_storage().nbytes()) for tensor in tensors)

    def _block(self, n_bytes: int) -> float:
        if not self._on_cpu:
            return n_bytes
        return n_bytes * (_CPU_SMALL_FACTOR if n_bytes < _LARGE_BYTES else _CPU_LARGE_FACTOR)


def _size(tensors: Sequence[Tensor]) -> int:
    return sum(_FLOAT32_BYTES * tensor.numel() for tensor in tensors)

"""How much memory a training step needs, without needing it: the model is run on tensors without storage."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.models.registry import new_model
from nanogpt_cli.engine.muon import split_parameters
from nanogpt_cli.engine.start import model_shape

_FLOAT32_BYTES: Final = 4
# The backward pass begins with a gradient as large as the logits, and the softmax's beside it.
_LOGITS_GRADIENTS: Final = 2
# glibc keeps freed blocks in its heaps, but gives those above 32 MB back. Measured on steps of cpu-tiny,
# shakespeare-char and gpt2-124m, resident memory is 1.2 to 1.4 times what is in use in small blocks, 1.0 to
# 1.2 times in large ones, and varies from run to run. CUDA's allocator reuses its blocks better.
_CPU_SMALL_FACTOR: Final = 1.3
_CPU_LARGE_FACTOR: Final = 1.1
_LARGE_BYTES: Final = 32 << 20


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes at the peak of an iteration, of one process, beside what the program itself takes."""

    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int  # of one micro-batch, kept for the backward pass, and the pass's own largest

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.gradients_bytes + self.optimizer_bytes + self.activations_bytes


def estimate_memory(config: TrainConfig, vocab_size: int, hardware: Hardware) -> MemoryEstimate:
    """The estimate for a model of `vocab_size` embedding rows, in a second or two whatever its size."""
    kept: dict[int, int] = {}  # storage → bytes
    alive: list[Tensor] = []  # a storage that is freed could lend its number to another

    with FakeTensorMode(), hardware.device:
        model = new_model(model_shape(config, vocab_size)).train()
        parameters = {p.untyped_storage()._cdata for p in model.parameters()}
        idx = torch.zeros(config.batch_size, config.block_size, dtype=torch.int64)

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in parameters:
                kept[storage._cdata] = storage.nbytes()
                alive.append(tensor)
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor), hardware.autocast():
            model(idx, idx)

    n_params = sum(p.numel() for p in model.parameters())
    weights = _FLOAT32_BYTES * n_params
    matrices = split_parameters(model).matrices if config.optimizer == "muon" else []
    blocks = [*kept.values(), *[max(kept.values(), default=0)] * _LOGITS_GRADIENTS]
    return MemoryEstimate(
        weights_bytes=weights,
        gradients_bytes=weights,
        # Muon keeps one moment of a matrix, AdamW two.
        optimizer_bytes=2 * weights - _FLOAT32_BYTES * sum(p.numel() for p in matrices),
        activations_bytes=round(sum(_resident(size, hardware) for size in blocks)),
    )


def _resident(n_bytes: int, hardware: Hardware) -> float:
    """What a block of memory comes to in the process's size."""
    if hardware.device.type != "cpu":
        return n_bytes
    return n_bytes * (_CPU_SMALL_FACTOR if n_bytes < _LARGE_BYTES else _CPU_LARGE_FACTOR)

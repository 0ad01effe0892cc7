"""Fully sharded training (FSDP2): every rank keeps a slice of each weight, its gradient and its moments.

A block's weights are gathered just before they are used and dropped again after; gradients are summed
straight into the slices (ZeRO stage 3, https://arxiv.org/abs/1910.02054;
https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html). Rows are divided among the ranks
(`Shard(0)`), in pieces of ceil(rows / ranks). Weights are gathered in float32 and autocast does the rest, so
a sharded run computes what a replicated one does, in every number format.
"""

import dataclasses
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.models.registry import new_model
from nanogpt_cli.errors import UsageError

# Float32 weights, their gradients and AdamW's two moments.
_BYTES_PER_PARAM: Final = 16
# What weights and moments may take of a GPU before they are divided: the rest is for activations.
_MOST_OF_THE_DEVICE: Final = 0.5


def choose_strategy(
    config: TrainConfig, *, world_size: int, n_params: int, device_bytes: int | None
) -> tuple[str, str]:
    """`ddp`, `fsdp` or, for one process, `single`; and why, in words.

    `device_bytes` is the memory of one GPU, None for a processor, whose ranks mostly share one memory.
    """
    if world_size == 1:
        return "single", "there is one process"
    if config.strategy != "auto":
        return config.strategy, "as set"
    needed = _BYTES_PER_PARAM * n_params
    if device_bytes is not None and needed > _MOST_OF_THE_DEVICE * device_bytes:
        return "fsdp", f"weights and optimizer take {needed / 2**30:.0f} GiB, too much for each GPU alone"
    return "ddp", "weights and optimizer fit into every process"


def device_bytes(device: torch.device) -> int | None:
    """The memory of a GPU; None for what is no CUDA device."""
    if device.type != "cuda":
        return None
    return int(torch.cuda.get_device_properties(device).total_memory)


def shard_model(model: LanguageModel, device: torch.device, world_size: int) -> None:
    """Divide the weights of `model` among all ranks, in place; each must hold the same ones.

    They may still lie on the CPU: what goes to `device` is one block at a time, and then its slice.
    Raises UsageError where this PyTorch cannot do it.
    """
    try:
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter  # noqa: F401  (to save)
        from torch.distributed.fsdp import fully_shard
    except ImportError:
        raise UsageError(
            f"strategy fsdp needs a newer PyTorch than {torch.__version__}",
            "pip install --upgrade torch, or leave the weights whole: --strategy ddp",
        ) from None
    mesh = torch.distributed.device_mesh.init_device_mesh(device.type, (world_size,))
    for module in (*blocks_of(model), model):  # the last: embeddings, norm and head; what is tied stays tied
        fully_shard(module, mesh=mesh, ignored_params={tables.weight for tables in model.lookup_tables()})
    for tables in model.lookup_tables():
        tables.to(device)  # whole on every rank: an iteration needs few rows, but any


def blocks_of(model: LanguageModel) -> nn.ModuleList:
    """The transformer blocks, in their order."""
    return cast("nn.ModuleList", model.get_submodule(model.blocks))


def is_sharded(model: nn.Module) -> bool:
    """Whether `shard_model` was applied."""
    return hasattr(model, "set_requires_gradient_sync")


def drop_gathered(model: nn.Module) -> None:
    """Let go of weights that a pass without gradients has left gathered; parameters are slices again."""
    if is_sharded(model):
        cast("Any", model).reshard()


class SharedPasses:
    """Passes without gradients through a sharded model: in each of them every rank has to take part.

    What fails on one rank between two passes must not keep the others waiting: it makes up for those that it
    owes. What fails within a pass cannot be made up for, as nobody knows which weights the others wait for.
    Of a model that is not sharded nobody waits, and nothing is counted.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self._sharded = is_sharded(model)
        self._begun = self._done = 0

    def __enter__(self) -> "SharedPasses":
        def begin(*_: object) -> None:
            self._begun += 1

        def end(*_: object) -> None:
            self._done += 1

        # The first of all hooks, and the last: gathering weights is a part of the pass.
        model = self.model
        self._hooks = (
            [model.register_forward_pre_hook(begin, prepend=True), model.register_forward_hook(end)]
            if self._sharded
            else []
        )
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    @property
    def cut(self) -> bool:
        """Whether a pass was begun that has not come to its end."""
        return self._begun > self._done

    @torch.inference_mode()
    def make_up(self, total: int, device: torch.device) -> None:
        """Take part in the passes that are missing to `total`, with a token that nobody looks at."""
        while self._sharded and self._done < total:
            self.model(torch.zeros(1, 1, dtype=torch.int64, device=device))


def local(tensor: Tensor) -> Tensor:
    """This rank's slice, sharing memory with `tensor`; the tensor itself where nothing is divided."""
    return cast("Any", tensor).to_local() if hasattr(tensor, "to_local") else tensor


def placed_like(whole: Tensor, parameter: Tensor) -> Tensor:
    """A copy of `whole` on the parameter's device, divided as the parameter is."""
    if not hasattr(parameter, "to_local") or whole.shape != parameter.shape:
        return whole.to(parameter.device, copy=True)
    from torch.distributed.tensor import distribute_tensor

    like = cast("Any", parameter)
    # Every rank has read the whole tensor, and keeps its slice: nothing is sent.
    return distribute_tensor(
        whole.to(parameter.device), like.device_mesh, like.placements, src_data_rank=None
    )


def compile_blocks(model: LanguageModel) -> None:
    """torch.compile for each block: gathering weights lies between them, and cannot be compiled."""
    for block in blocks_of(model):
        block.compile()


def try_compiled_block(model: LanguageModel, config: TrainConfig, hardware: Hardware) -> None:
    """One pass through a compiled block like the model's; raises whatever the compiler does.

    A model of its own with one block, so that no rank waits for a pass that fails on another one.
    """
    with torch.random.fork_rng(devices=[]):  # its weights must not change the run's random numbers
        shape = dataclasses.replace(model.config, n_layer=1, vocab_size=64)
        small = new_model(shape).to(hardware.device)
    compile_blocks(small)
    idx = torch.zeros(config.batch_size, config.block_size, dtype=torch.int64, device=hardware.device)
    with hardware.autocast():
        loss = small(idx, idx)[1]
    loss.backward()

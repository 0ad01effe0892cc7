"""The optimizers. AdamW has nanoGPT's two groups: matrices and embeddings decay, biases and norms do not."""

from typing import Any

import torch
from torch import nn

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.engine.adamw import AdamW, table_groups
from nanogpt_cli.engine.device import Hardware
from nanogpt_cli.engine.distributed import Distributed
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.muon import build_muon, momentum_at
from nanogpt_cli.engine.schedule import learning_rate


def decay_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Split the trainable parameters into those with two dimensions or more, which decay, and the rest."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [p for p in parameters if p.dim() >= 2], [p for p in parameters if p.dim() < 2]


def build_optimizer(
    model: LanguageModel, config: TrainConfig, hardware: Hardware, dist: Distributed | None = None
) -> torch.optim.Optimizer:
    """The optimizer of the settings, on the model's device; a sharded model's keeps shards of its moments."""
    if config.optimizer == "adamw":
        return build_adamw(model, config, hardware.device, dist)
    # The orthogonal matrix needs no precision: bfloat16 where the device multiplies it fast.
    ns_dtype = torch.bfloat16 if hardware.dtype == torch.bfloat16 else torch.float32
    return build_muon(model, config, ns_dtype=ns_dtype, fused=fused_available(hardware.device), dist=dist)


def set_rates(optimizer: torch.optim.Optimizer, iter_num: int, config: TrainConfig) -> float:
    """Give every group its rate (and Muon its momentum) of iteration `iter_num`; returns learning_rate's."""
    rate = learning_rate(iter_num, config)
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_ratio", 1.0)
        if "momentum" in group:
            group["momentum"] = momentum_at(iter_num, config)
    return rate


def build_adamw(
    model: LanguageModel, config: TrainConfig, device: torch.device, dist: Distributed | None = None
) -> AdamW:
    """AdamW (https://arxiv.org/abs/1711.05101), fused into one kernel where torch can."""
    decay, no_decay = decay_groups(model)
    groups: list[dict[str, Any]] = [
        {"params": decay, "weight_decay": config.weight_decay},
        {"params": no_decay, "weight_decay": 0.0},
        *table_groups(model, config),
    ]
    return AdamW(
        groups,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=fused_available(device),
        dist=dist,
    )


def fused_available(device: torch.device) -> bool:
    """Whether torch has a fused AdamW for this device (CUDA, and the CPU since torch 2.4)."""
    return device.type in {"cuda", "cpu"}

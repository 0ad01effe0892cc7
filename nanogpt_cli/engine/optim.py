"""AdamW with nanoGPT's two groups: matrices and embeddings decay, biases and norms do not."""

import torch
from torch import nn

from nanogpt_cli.config.schema import TrainConfig


def decay_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Split the trainable parameters into those with two dimensions or more, which decay, and the rest."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [p for p in parameters if p.dim() >= 2], [p for p in parameters if p.dim() < 2]


def build_adamw(model: nn.Module, config: TrainConfig, device: torch.device) -> torch.optim.AdamW:
    """AdamW (https://arxiv.org/abs/1711.05101), fused into one kernel where torch can."""
    decay, no_decay = decay_groups(model)
    groups = [
        {"params": decay, "weight_decay": config.weight_decay},
        {"params": no_decay, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=fused_available(device),
    )


def fused_available(device: torch.device) -> bool:
    """Whether torch has a fused AdamW for this device (CUDA, and the CPU since torch 2.4)."""
    return device.type in {"cuda", "cpu"}

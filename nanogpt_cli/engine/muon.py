"""Muon for the matrices inside the blocks, AdamW for embeddings, head and vectors, as one optimizer.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) replaces a matrix's momentum by the
nearest orthogonal matrix, found by a Newton–Schulz iteration of matrix products. Matrices of one shape are
stacked, so that each product of the iteration is one batched call.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.engine import muon_sharing
from nanogpt_cli.engine.adamw import Optimizer, gradient, rate_ratio, table_groups
from nanogpt_cli.engine.distributed import Distributed
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.sharded import local

# The quintics a·X + b·XXᵀX + c·(XXᵀ)²X of Polar Express (Amsel et al. 2025, https://arxiv.org/abs/2505.16932):
# each is the best for the singular values that the rounds before it leave. Three rounds of these train small
# models as well as five of the Muon post's one polynomial; after the last, 1.875, -1.25, 0.375 stays.
_ROUNDS: Final = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)
_LAST_ROUND: Final = (1.875, -1.25, 0.375)
# bfloat16 rounds: a singular value just above one would grow, so every round begins a little below.
_SAFETY: Final = 1.02
_EPS: Final = 1e-7
# The momentum starts lower and grows, as in modded-nanogpt and nanochat: early gradients turn quickly.
_FIRST_MOMENTUM: Final = 0.85
_MOMENTUM_WARMUP_ITERS: Final = 300
_ADAM_EPS: Final = 1e-10  # nanochat's: the moments of rare tokens are tiny


class MuonAdamW(Optimizer):
    """Groups have a `kind` ("muon", "adamw" or "rows"), the rate `lr`, and its ratio to learning_rate."""

    def __init__(
        self,
        groups: Sequence[dict[str, Any]],
        *,
        ns_dtype: torch.dtype,
        fused: bool,
        dist: Distributed | None = None,
    ) -> None:
        super().__init__(groups, {"weight_decay": 0.0, "lr_ratio": 1.0, "rounds": 5}, dist)
        self._ns_dtype = ns_dtype
        self._fused = fused

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None, *, found_inf: Tensor | None = None
    ) -> None:
        """Update every parameter that has a gradient; nothing where `found_inf`, on the device, is 1."""
        assert closure is None, "the trainer computes gradients itself"
        for group in self.param_groups:
            if group["kind"] == "muon":
                self._muon(group, [p for p in group["params"] if p.grad is not None], found_inf)
            elif group["kind"] == "rows":
                self.rows_step(group, found_inf)
            else:
                self.adamw_step(group, fused=self._fused, eps=_ADAM_EPS, found_inf=found_inf)

    def _muon(self, group: dict[str, Any], parameters: list[nn.Parameter], found_inf: Tensor | None) -> None:
        bad = None if found_inf is None else found_inf.bool()
        by_shape: dict[torch.Size, list[nn.Parameter]] = {}
        for parameter in parameters:
            by_shape.setdefault(parameter.shape, []).append(parameter)
        for shape, same in by_shape.items():
            gradients = torch.stack([gradient(p) for p in same])  # (n, rows, columns), this rank's rows
            momentum = torch.stack([local(self._momentum_buffer(p)) for p in same])
            before = None if bad is None else momentum.clone()
            momentum.lerp_(gradients, 1 - group["momentum"])
            nesterov = gradients.lerp(momentum, group["momentum"])
            update = self._orthogonalize(nesterov, same[0], group["rounds"])
            # A tall matrix gets longer steps: its update's entries are smaller for the same spectral norm.
            scale = group["lr"] * math.sqrt(max(1.0, shape[0] / shape[1]))
            share = 1 - group["lr"] * group["weight_decay"]
            kept: float | Tensor = share
            if bad is not None and before is not None:  # chosen, not multiplied: NaN times zero is NaN
                momentum = torch.where(bad, before, momentum)
                update = update.masked_fill(bad, 0.0)
                kept = torch.full((), share, device=update.device).masked_fill(bad, 1.0)
            for parameter, buffer, direction in zip(same, momentum, update, strict=True):
                local(self.state[parameter]["momentum_buffer"]).copy_(buffer)
                weights = local(parameter)
                weights.mul_(kept)
                weights.sub_(direction.to(weights.dtype), alpha=scale)

    def _orthogonalize(self, stack: Tensor, parameter: nn.Parameter, rounds: int) -> Tensor:
        """`orthogonalize` for matrices like `parameter`, the work divided among the ranks."""

        def alone(matrices: Tensor) -> Tensor:
            return orthogonalize(matrices, self._ns_dtype, rounds)

        mesh = getattr(parameter, "device_mesh", None)
        if mesh is not None:
            return muon_sharing.sharded(stack, parameter.shape[0], alone, mesh)
        if self.dist.world_size > 1:
            return muon_sharing.shared(stack, alone, self.dist.rank, self.dist.world_size)
        return alone(stack)

    def _momentum_buffer(self, parameter: nn.Parameter) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def orthogonalize(matrices: Tensor, dtype: torch.dtype, rounds: int = 5) -> Tensor:
    """About U Vᵀ of each matrix U S Vᵀ: (n, rows, columns) → the same shape, computed in `dtype`."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).to(dtype)  # the smaller side first: its Gram matrix is smaller
    norms = x.norm(dim=(1, 2), keepdim=True)
    x = x / norms.clamp(min=_EPS)  # no singular value above one
    for number in range(rounds):
        a, b, c = _ROUNDS[number] if number < len(_ROUNDS) else _LAST_ROUND
        a, b, c = a / _SAFETY, b / _SAFETY**3, c / _SAFETY**5
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    found: Tensor = (x.mT if tall else x).to(matrices.dtype)
    return found


@dataclass(frozen=True)
class Parameters:
    """A model's parameters by their role; a tied head is among the embeddings."""

    matrices: list[nn.Parameter]  # inside the blocks
    embeddings: list[nn.Parameter]
    head: list[nn.Parameter]
    vectors: list[nn.Parameter]


def split_parameters(model: LanguageModel) -> Parameters:
    """Which parameters are Muon's (`matrices`), and which AdamW's; tables moved by rows are neither's."""
    parts = Parameters([], [], [], [])
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.dim() < 2:
            parts.vectors.append(parameter)
        elif name.startswith("lm_head."):
            parts.head.append(parameter)
        elif isinstance(model.get_submodule(name.rpartition(".")[0]), nn.Embedding):
            parts.embeddings.append(parameter)
        else:
            parts.matrices.append(parameter)
    return parts


def build_muon(
    model: LanguageModel,
    config: TrainConfig,
    *,
    ns_dtype: torch.dtype,
    fused: bool,
    dist: Distributed | None = None,
) -> MuonAdamW:
    """Muon at learning_rate for matrices, AdamW at embedding_lr and head_lr for the rest."""
    parts = split_parameters(model)
    betas = (config.beta1, config.beta2)
    groups: list[dict[str, Any]] = [
        {
            "params": parts.matrices,
            "kind": "muon",
            "momentum": config.muon_momentum,
            "rounds": config.muon_steps,
            "weight_decay": config.weight_decay,
        }
    ]
    for members, rate in (
        (parts.embeddings + parts.vectors, config.embedding_lr),
        (parts.head, config.head_lr),
    ):
        ratio = rate_ratio(rate, config)
        groups.append({"params": members, "kind": "adamw", "betas": betas, "lr_ratio": ratio})
    groups += table_groups(model, config)
    for group in groups:
        group["lr"] = config.learning_rate * group.get("lr_ratio", 1.0)
    return MuonAdamW(
        [group for group in groups if group["params"]], ns_dtype=ns_dtype, fused=fused, dist=dist
    )


def momentum_at(iter_num: int, config: TrainConfig) -> float:
    """Muon's momentum: it grows linearly to muon_momentum over the first iterations."""
    first = min(_FIRST_MOMENTUM, config.muon_momentum)
    share = min(1.0, iter_num / _MOMENTUM_WARMUP_ITERS)
    return first + share * (config.muon_momentum - first)

"""AdamW (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101), with a start-up that costs nothing.

torch's own optimizer classes import torch's compiler the first time they are used, a second of every start on
a laptop, to tell it to keep out. The arithmetic here is torch's: its functional `adamw`.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from nanogpt_cli.config.schema import TrainConfig
from nanogpt_cli.engine.distributed import Distributed
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.sharded import local
from nanogpt_cli.engine.table_rows import update_rows

DEFAULT_EPS = 1e-8


class Optimizer(torch.optim.Optimizer):
    """What our optimizers share: parameter groups and their bookkeeping, without the compiler.

    A group of the kind "rows" is a table, and moves by the rows of its `lookups`.
    """

    def __init__(
        self, groups: Sequence[dict[str, Any]], defaults: dict[str, Any], dist: Distributed | None = None
    ) -> None:
        super().__init__(groups, defaults)
        self.dist = dist or Distributed()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop every gradient; torch's keeps books for its profiler besides."""
        assert set_to_none, "gradients are made anew by each backward pass"
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
            group.get("lookups", []).clear()

    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None, *, found_inf: Tensor | None = None
    ) -> None:
        """Update every parameter that has a gradient; nothing where `found_inf`, on the device, is 1."""
        raise NotImplementedError

    def rows_step(self, group: dict[str, Any], found_inf: Tensor | None = None) -> None:
        """Move the rows of a table that were looked up since the last step."""
        (weight,) = group["params"]
        update_rows(weight, group["lookups"], lr=group["lr"], dist=self.dist, found_inf=found_inf)

    def adamw_step(
        self, group: dict[str, Any], *, fused: bool, eps: float, found_inf: Tensor | None = None
    ) -> None:
        """One AdamW step for the parameters of `group` that have a gradient."""
        assert fused or found_inf is None, "only the fused kernel can be told on the device to do nothing"
        parameters = [p for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        for parameter in parameters:
            state = self.state[parameter]
            if "step" not in state:
                state["step"] = torch.zeros((), device=parameter.device)
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
        states = [self.state[p] for p in parameters]
        adamw(
            [local(p) for p in parameters],
            [gradient(p) for p in parameters],
            [local(state["exp_avg"]) for state in states],
            [local(state["exp_avg_sq"]) for state in states],
            [],
            [state["step"] for state in states],
            fused=fused,
            found_inf=found_inf,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=eps,
            maximize=False,
        )


class AdamW(Optimizer):
    """AdamW over groups of parameters, each with its weight decay."""

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float],
        fused: bool,
        dist: Distributed | None = None,
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0}, dist)
        self._fused = fused

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None, *, found_inf: Tensor | None = None
    ) -> None:
        """Update every parameter that has a gradient; nothing where `found_inf`, on the device, is 1."""
        assert closure is None, "the trainer computes gradients itself"
        for group in self.param_groups:
            if group.get("kind") == "rows":
                self.rows_step(group, found_inf)
            else:
                self.adamw_step(group, fused=self._fused, eps=DEFAULT_EPS, found_inf=found_inf)


def table_groups(model: LanguageModel, config: TrainConfig) -> list[dict[str, Any]]:
    """A group for each of the model's tables, at ngram_lr."""
    ratio = rate_ratio(config.ngram_lr, config)
    return [
        {
            "params": [tables.weight],
            "lookups": tables.lookups,
            "kind": "rows",
            "lr": config.learning_rate * ratio,
            "lr_ratio": ratio,
        }
        for tables in model.lookup_tables()
    ]


def rate_ratio(rate: float, config: TrainConfig) -> float:
    """What learning_rate, as it warms up and decays, is to be multiplied with for a rate of its own."""
    return rate / config.learning_rate if config.learning_rate else 1.0


def gradient(parameter: nn.Parameter) -> Tensor:
    """This rank's part of the gradient, which is there."""
    assert parameter.grad is not None
    return local(parameter.grad)

"""The architectures by name, and a model built from what a checkpoint says."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nanogpt_cli.engine.models.base import LanguageModel, ModelConfig
from nanogpt_cli.engine.models.gpt2 import GPT2, GPT2Config
from nanogpt_cli.engine.models.nanochat import NanoChat, NanoChatConfig

CONFIGS: Final[Mapping[str, type[ModelConfig]]] = {"gpt2": GPT2Config, "nanochat": NanoChatConfig}


def new_model(config: ModelConfig) -> LanguageModel:
    """A model with fresh weights, drawn from torch's generator."""
    if isinstance(config, GPT2Config):
        return GPT2(config)
    assert isinstance(config, NanoChatConfig), type(config)
    return NanoChat(config)


def skeleton(config: ModelConfig) -> LanguageModel:
    """A model of shapes alone, on the device `meta`: nothing is allocated, drawn or computed."""
    with torch.device("meta"), _Undrawn():
        return new_model(config)


def model_config(arch: str, values: Mapping[str, Any]) -> ModelConfig:
    """A configuration from a checkpoint's words; raises KeyError or TypeError for what is unknown."""
    return CONFIGS[arch](**values)


def build_model(config: ModelConfig, weights: Mapping[str, Tensor]) -> LanguageModel:
    """A model with the given weights; what is tied was stored once, and is tied again."""
    with _Undrawn():
        model = new_model(config)
    result = model.load_state_dict(weights, strict=False)
    assert set(result.missing_keys) <= model.tied, result
    assert not result.unexpected_keys, result
    return model


class _Undrawn(TorchFunctionMode):
    """Leaves new weights as they are in memory: they will be replaced, and drawing GPT-2's takes a second.

    It takes as long, whatever the size, on the device `meta`: there torch draws through its compiler's
    decompositions, and loads the compiler for it.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":  # all of them take a tensor and return it
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)

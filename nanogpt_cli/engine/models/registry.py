"""The architectures by name, and a model built from what a checkpoint says."""

from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor

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


def model_config(arch: str, values: Mapping[str, Any]) -> ModelConfig:
    """A configuration from a checkpoint's words; raises KeyError or TypeError for what is unknown."""
    return CONFIGS[arch](**values)


def build_model(config: ModelConfig, weights: Mapping[str, Tensor]) -> LanguageModel:
    """A model with the given weights; what is tied was stored once, and is tied again."""
    model = new_model(config)
    result = model.load_state_dict(weights, strict=False)
    assert set(result.missing_keys) <= model.tied, result
    assert not result.unexpected_keys, result
    return model

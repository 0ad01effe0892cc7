"""Whether foreign weights are those of the model that comes with them."""

import torch
from torch import Tensor

from nanogpt_cli.engine.models.base import ModelConfig
from nanogpt_cli.engine.models.registry import new_model


def differing_tensors(config: ModelConfig, weights: dict[str, Tensor]) -> list[str]:
    """Names that are missing, unknown or of another shape, sorted; what is tied is not asked for."""
    with torch.device("meta"):  # shapes only: nothing is allocated
        model = new_model(config)
    wanted = {k: v.shape for k, v in model.state_dict().items() if k not in model.tied}
    found = {k: v.shape for k, v in weights.items()}
    return sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))

"""Whether foreign weights are those of the model that comes with them."""

import torch
from torch import Tensor

from nanogpt_cli.engine.models.gpt2 import GPT2, GPT2Config


def differing_tensors(config: GPT2Config, weights: dict[str, Tensor]) -> list[str]:
    """Names that are missing, unknown or of another shape, sorted; the tied lm_head is not asked for."""
    with torch.device("meta"):  # shapes only: nothing is allocated
        wanted = {k: v.shape for k, v in GPT2(config).state_dict().items() if k != "lm_head.weight"}
    found = {k: v.shape for k, v in weights.items()}
    return sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))

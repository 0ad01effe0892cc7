"""Whether foreign weights are those of the GPT-2 that comes with them."""

import re
from typing import Final

from torch import Tensor

from nanogpt_cli.engine.models.base import ModelConfig
from nanogpt_cli.engine.models.registry import skeleton

# Causal masks that old checkpoints carry as buffers; the mask is computed here.
_MASK: Final = re.compile(r"\.attn\.(?:bias|masked_bias)$")


def not_a_weight(name: str) -> bool:
    """Whether a state dict's entry is none of its own: a causal mask, or the head, which is tied to wte."""
    return _MASK.search(name) is not None or name == "lm_head.weight"


def differing_tensors(config: ModelConfig, weights: dict[str, Tensor]) -> list[str]:
    """Names that are missing, unknown or of another shape, sorted; what is tied is not asked for."""
    model = skeleton(config)
    wanted = {k: v.shape for k, v in model.state_dict().items() if k not in model.tied}
    found = {k: v.shape for k, v in weights.items()}
    return sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))

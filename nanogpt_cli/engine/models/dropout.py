"""Dropout whose random numbers cost a CPU little (Srivastava et al. 2014).

torch draws them there one by one on a single thread: a third of an iteration of nanoGPT's baby GPT. Here four
come from each word of numpy's generator, which torch's own seeds; so `torch.manual_seed` decides here too.
Forward, 25 million numbers in bfloat16, two cores of a Zen 4: 30 ms against 200.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_SMALL: Final = 1 << 14  # elements: to make a generator takes as long as torch takes for so many
_LEVELS: Final = 1 << 16  # the rate is rounded to a multiple of 1 / _LEVELS
_LOWEST, _HIGHEST = -(_LEVELS // 2), _LEVELS // 2 - 1  # of an int16


def dropout(x: Tensor, rate: float, training: bool = True) -> Tensor:
    """Each element of x zero with probability `rate` (0 to 1, not 1), else divided by 1 - rate.

    x as it is where it is not `training`.
    """
    if rate == 0 or not training:
        return x
    # A subclass of Tensor stands for memory that is not there, or lies elsewhere.
    if x.device.type != "cpu" or x.numel() < _SMALL or type(x) is not Tensor or torch.compiler.is_compiling():
        return F.dropout(x, rate)
    return x * _factors(x.shape, x.dtype, rate)


def _factors(shape: torch.Size, dtype: torch.dtype, rate: float) -> Tensor:
    """0 or 1 / (1 - rate), in `dtype`."""
    seed = int(torch.empty((), dtype=torch.int64).random_())
    n_words = -(-shape.numel() // 4)
    random = np.random.Generator(np.random.SFC64(seed))
    words = random.integers(0, np.iinfo(np.uint64).max, n_words, dtype=np.uint64, endpoint=True)
    kept = torch.from_numpy(words).view(torch.int16)[: shape.numel()].view(shape)
    limit = min(_LOWEST + round((1 - rate) * _LEVELS), _HIGHEST)
    torch.lt(kept, limit, out=kept)  # 1 or 0, in place
    factor = torch.tensor(1 / (1 - rate), dtype=dtype)
    if dtype.itemsize != kept.dtype.itemsize:
        return kept.to(dtype).mul_(factor)
    # As integers, the bits of the factor times 0 or 1: no conversion, no memory.
    return kept.mul_(int(factor.view(kept.dtype))).view(dtype)

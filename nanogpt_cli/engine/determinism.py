"""`deterministic`: sums in a fixed order, so that a GPU gives the same weights bit by bit each time.

A CPU does so in any case. On a GPU some kernels add by atomics, in the order in which threads happen to come,
cuBLAS splits products between streams, and compilers choose kernels by their time; without those shortcuts it
is slower. https://docs.pytorch.org/docs/stable/notes/randomness.html
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Final, cast

import torch

# cuBLAS reads it when it is first used: one of the two values it has for results that do not vary.
# https://docs.nvidia.com/cuda/cublas/#results-reproducibility
_WORKSPACE: Final = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


@contextlib.contextmanager
def fixed_order(wanted: bool, device: torch.device) -> Iterator[None]:
    """While the block runs, have kernels whose sums depend on chance replaced; no other may run."""
    if not wanted or device.type == "cpu":
        yield
        return
    os.environ.setdefault(*_WORKSPACE)
    memory = cast("Any", torch.utils.deterministic)  # a module that is also a property, unknown to mypy
    filled = memory.fill_uninitialized_memory
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # for finding bugs; costs a pass over memory
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        memory.fill_uninitialized_memory = filled

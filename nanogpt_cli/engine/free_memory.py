"""How much memory a process could still take: of the GPU, or of the machine, the container and its limits."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

import torch

_CGROUP_LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_CGROUP_USED: Final = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


def available_memory(device: torch.device) -> int | None:
    """Bytes that a process could still take on the device; None where the system does not tell."""
    if device.type == "cuda":
        free = int(torch.cuda.mem_get_info(device)[0])
        # What PyTorch's allocator holds without using it is this process's to take.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    found = (_free_memory(), _free_in_container(), _free_below_limit())
    return min((amount for amount in found if amount is not None), default=None)


def _free_memory() -> int | None:
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:  # macOS tells how much there is, not how much is free
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None  # Windows


def _free_in_container() -> int | None:
    for limit, used in zip(_CGROUP_LIMITS, _CGROUP_USED, strict=True):
        with contextlib.suppress(OSError, ValueError):  # no such file outside a container; "max": no limit
            return int(Path(limit).read_text(encoding="utf-8")) - int(Path(used).read_text(encoding="utf-8"))
    return None


def _free_below_limit() -> int | None:
    """What `ulimit -v`, which some clusters set for every job, leaves this process."""
    if sys.platform != "linux":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return max(0, limit - pages * resource.getpagesize())

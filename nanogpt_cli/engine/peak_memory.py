"""The most memory a run has needed: of its GPU where it has one, else of this process.

The process's is the peak of its resident set: VmHWM of Linux (proc(5)), else ru_maxrss (getrusage(2)), which
macOS gives in bytes; on Windows PeakWorkingSetSize
(https://learn.microsoft.com/windows/win32/api/psapi/nf-psapi-getprocessmemoryinfo).
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, kw_only=True)
class PeakMemory:
    """Bytes; None where nobody tells."""

    used_bytes: int | None
    reserved_bytes: int | None = None  # of a GPU: what PyTorch held of it, its unused blocks too


def peak_memory(device: torch.device) -> PeakMemory:
    """Since the process began."""
    if device.type == "cuda":
        return PeakMemory(
            used_bytes=torch.cuda.max_memory_allocated(device),
            reserved_bytes=torch.cuda.max_memory_reserved(device),
        )
    return PeakMemory(used_bytes=_process_bytes())


def _process_bytes() -> int | None:
    if sys.platform == "win32":
        return _windows_bytes()
    if _STATUS.is_file():  # ru_maxrss of Linux begins with what the parent process had when it forked
        for line in _STATUS.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def _windows_bytes() -> int | None:
    """By the kernel's own copy of GetProcessMemoryInfo, which needs no psapi.dll."""
    import ctypes

    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - not there on other systems, where mypy runs
    counters = (ctypes.c_size_t * 10)()  # PROCESS_MEMORY_COUNTERS: two DWORDs, then sizes
    n_bytes = ctypes.sizeof(ctypes.c_ulong) * 2 + ctypes.sizeof(ctypes.c_size_t) * 8
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    kernel.K32GetProcessMemoryInfo.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulong]
    ctypes.cast(counters, ctypes.POINTER(ctypes.c_ulong))[0] = n_bytes
    if not kernel.K32GetProcessMemoryInfo(kernel.GetCurrentProcess(), counters, n_bytes):
        return None
    first = ctypes.sizeof(ctypes.c_ulong) * 2
    return int(ctypes.c_size_t.from_buffer(counters, first).value)  # PeakWorkingSetSize comes first

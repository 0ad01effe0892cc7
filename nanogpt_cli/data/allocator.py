"""How the C library treats freed memory: kept for the next block of its size, or given back to the system.

glibc gives large blocks back as soon as they are free, and the system clears every page before it hands it
out again. Where blocks of the same sizes come and go all the time, that is a good part of the work: a third
of encoding a text; on a CPU a tenth to a fifth of a small model's training step, a third of a larger one's.
"""

import contextlib
import ctypes
import sys
from typing import Final

# Numbers of mallopt's parameters: glibc, malloc/malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_MMAP_MAX: Final = -4
_KEPT_BYTES: Final = 1 << 28
# The documented upper limit, DEFAULT_MMAP_THRESHOLD_MAX on 64 bits: older versions refuse more, and would
# keep their 128 kB for good once the other threshold is set.
_MOST_MMAP_BYTES: Final = 1 << 25
_NEVER: Final = -1


def keep_freed_memory(*, all_of_it: bool = False) -> None:
    """Keep freed memory for reuse from now on: up to 256 MB of blocks up to 32 MB each, or `all_of_it`.

    The process's highest size stays about the same. On Linux with glibc; elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such knob
        c_library = ctypes.CDLL(None)
        c_library.mallopt(_M_TRIM_THRESHOLD, _NEVER if all_of_it else _KEPT_BYTES)
        c_library.mallopt(_M_MMAP_THRESHOLD, _MOST_MMAP_BYTES)
        if all_of_it:
            c_library.mallopt(_M_MMAP_MAX, 0)  # larger blocks would be mapped, and given back, one by one

"""How the interpreter and the C library are set while a text is prepared: for threads and large blocks."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from typing import Final

# Threads that hand blocks to each other wait for the interpreter's lock; 5 ms, Python's default, is longer
# than most of their jobs. Measured on two cores: 301 MB of characters in 1.10 s instead of 1.55 s.
_SWITCH_SECONDS: Final = 2e-4
# glibc gives freed blocks of 128 kB and more back to the system, and the system clears every page before it
# hands it out again: a third of the time. Numbers of mallopt's parameters: glibc, malloc/malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 1 << 28
# The documented upper limit, DEFAULT_MMAP_THRESHOLD_MAX on 64 bits: older versions refuse more, and would
# keep their 128 kB for good once the other threshold is set.
_MOST_MMAP_BYTES: Final = 1 << 25


@contextlib.contextmanager
def set_for_blocks() -> Iterator[None]:
    """Short turns for the time of the block; freed memory is kept for reuse from now on (on Linux, glibc)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library has no such knob
            c_library = ctypes.CDLL(None)
            c_library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
            c_library.mallopt(_M_MMAP_THRESHOLD, _MOST_MMAP_BYTES)
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)

"""Freed memory stays with the process, for the next block."""

import platform
import subprocess
import sys

import pytest

# Blocks of 4 MB made and freed: how much larger the process is after that than before.
PROBE = """
import resource, sys
from nanogpt_cli.data.allocator import keep_freed_memory
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
if sys.argv[1] == "keep":
    keep_freed_memory()
before = resident()
blocks = [bytearray(b"x") * (4 << 20) for _ in range(20)]
del blocks
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the knob")
def test_freed_blocks_are_kept() -> None:
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", PROBE, how], capture_output=True, check=True).stdout)
        for how in ("keep", "leave")
    )
    assert kept > 70 << 20
    assert given_back < 40 << 20

"""Freed memory stays with the process, for the next block."""

import platform
import subprocess
import sys

import pytest

# Blocks of some MB made and freed: how much larger the process is after that than before.
PROBE = """
import resource, sys
from nanogpt_cli.data.allocator import keep_freed_memory
how, size, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
if how != "leave":
    keep_freed_memory(all_of_it=how == "keep all")
before = resident()
blocks = [bytearray(b"x") * (size << 20) for _ in range(count)]
del blocks
print((resident() - before) >> 20)
"""


def kept_mb(how: str, *, size: int, count: int) -> int:
    command = [sys.executable, "-c", PROBE, how, str(size), str(count)]
    return int(subprocess.run(command, capture_output=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the knob")
def test_freed_blocks_are_kept() -> None:
    assert kept_mb("keep", size=4, count=20) > 70
    assert kept_mb("leave", size=4, count=20) < 40


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the knob")
def test_large_blocks_and_many_are_kept_where_all_are() -> None:
    assert kept_mb("keep all", size=50, count=8) > 380
    assert kept_mb("keep", size=50, count=8) < 100

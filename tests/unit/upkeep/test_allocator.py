"""Memory that is freed is there for the next who needs it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource
from alertd.upkeep.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        blocks = [bytes(200_000) for _ in range(4)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
assert keep_freed_memory()
faults()
print(before, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told so")
def test_blocks_that_come_and_go_are_not_cleared_by_the_kernel_each_time() -> None:
    """In a process of its own: the settings stay."""
    found = subprocess.run(
        [sys.executable, "-c", _FAULTS], capture_output=True, check=True, text=True
    )
    before, after = map(int, found.stdout.split())
    assert after < 100 < before

"""How much freed memory the C library keeps for what is allocated next.

Each request, and each array operation on many events, needs blocks of some hundred kilobytes for a
moment. glibc gives such blocks back to the kernel when they are freed, and the kernel clears each
of their pages when the next one needs them: 20 page faults for a thousand events under load, 5 to
10 % of the time that an event takes.

Owns these settings of the process (mallopt(3)), which nobody can read back, so they stay. Another
C library than glibc has its own ways, and is left alone.

Cost: at most ``KEPT_BYTES`` of memory that is free, for each thread that frees much, and what lies
between blocks that are not mapped: with 16 MiB kept, and blocks of 4 MiB, a daemon that refused a
million series had 12 MB more than before, with this it has what it has by glibc's own rules.
"""

from __future__ import annotations

import ctypes
from typing import Final

KEPT_BYTES: Final = 1 << 20
"""Free memory at the end of a heap that is not given back."""
MAPPED_FROM_BYTES: Final = 1 << 20
"""Blocks of so many bytes are mapped by the kernel, each alone, and given back at once."""

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def keep_freed_memory() -> bool:
    """Have freed memory kept; return whether the C library can be told so."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # Each alone would end glibc's own adapting of the other.
    trimmed = mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
    return bool(trimmed and mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES))

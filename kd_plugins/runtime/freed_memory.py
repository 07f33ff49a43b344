"""Memory that a training step frees on the CPU stays with the process, for the next step."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_KEPT = 32 << 20
"""What is larger has pages of its own, as glibc decides by itself; it refuses a larger threshold."""
NEVER = (1 << 31) - 1
ENVIRONMENT = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")
"""Who sets one of these has chosen how memory is kept."""


def keep_freed_memory() -> bool:
    """Keep glibc from giving freed memory back to the system, and return whether it agreed.

    Else much of what a step frees is given back, and the next step pays for every page of it again. The most
    memory that a process holds at once does not change. This is for the whole process and for good; elsewhere than on
    Linux with glibc nothing happens.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    if not sys.platform.startswith("linux") or any(os.environ.get(name) for name in ENVIRONMENT):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # A threshold alone would fix the other one at its small beginning.
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))

"""How freed memory goes back to the operating system (glibc's malloc), and when Python looks for cycles.

By default glibc raises the size from which a block has its own mapping to that of the largest one that was
freed, 32 MiB at most. After the first large body every later one is allocated in the heap, where one small
block above it keeps it from the system for good.
"""

import ctypes
import gc
import sys
from contextlib import suppress

from relayd.units import KIB

_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
"""Parameters of mallopt(3)."""

_LARGE = 256 * KIB
"""Blocks of this size and more are mapped on their own, and unmapped when they are freed."""


_YOUNG_OBJECTS = 10_000
"""New objects between two looks for cycles; 700 by default, which is a few requests."""


def leave_lasting_objects_alone() -> None:
    """Have the garbage collector look at what requests make, not at modules and parts of the daemon.

    Its looks through all of them made a request 3 to 6 % dearer [M: paired medians in process].
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 50)


def return_freed_memory() -> bool:
    """Have large blocks given back as soon as they are freed; return whether this system can."""
    if sys.platform != "linux":
        return False
    with suppress(OSError, AttributeError):  # musl has no mallopt, and gives large blocks back by itself
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(_MMAP_THRESHOLD, _LARGE) and mallopt(_TRIM_THRESHOLD, _LARGE))
    return False

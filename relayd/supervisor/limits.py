"""What the kernel lets a replica's process take: memory, stacks, core files, and who goes first (limits)."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from relayd.planner.wall import NO_WALL, STACK_BYTES, MemoryWall
from relayd.store import Record
from relayd.units import Bytes

if sys.platform == "linux":
    import resource

_OOM_SCORE = 500
"""The kernel prefers this process over the daemon when memory ends (`oom_score_adj`, -1000 to 1000)."""


@contextlib.contextmanager
def small_stacks() -> Iterator[None]:
    """Have a process that is started inside inherit a soft RLIMIT_STACK of 2 MiB.

    Its C library reads it before any code of ours could set it from outside, and makes it the size of each
    thread's stack. The threads of this process keep theirs: they have been decided at its start.
    """
    if sys.platform != "linux":
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_STACK)
    soft, hard = before
    lower = STACK_BYTES if soft == resource.RLIM_INFINITY else min(soft, STACK_BYTES)
    resource.setrlimit(resource.RLIMIT_STACK, (lower, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, before)


def no_core() -> None:
    """Have this process leave no image of its memory when it crashes: prompts and keys are in there."""
    if sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def limit(pid: int, wall: MemoryWall) -> None:
    """Set the limits of a process that has just been started.

    From outside after the start: no code of ours runs between fork and exec.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):  # already gone; its exit is seen elsewhere
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(_OOM_SCORE))
    set_wall(pid, wall)


def set_wall(pid: int, wall: MemoryWall) -> None:
    """Set the memory wall of a process, if it is to have one."""
    if sys.platform != "linux" or wall.limit is None:
        return
    with contextlib.suppress(OSError):  # already gone
        _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
        lowest = wall.limit if hard == resource.RLIM_INFINITY else min(wall.limit, hard)
        resource.prlimit(pid, resource.RLIMIT_DATA, (lowest, hard))


def wall_of(record: Record) -> MemoryWall:
    """Return the memory wall that a process was started with."""
    if record.wall:
        return MemoryWall(Bytes(record.wall))
    return MemoryWall(reason=record.no_wall) if record.no_wall else NO_WALL

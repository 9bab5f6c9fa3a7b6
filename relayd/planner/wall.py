"""The memory wall: how much anonymous memory the kernel gives one llama-server (RLIMIT_DATA).

A request may ask an engine for any amount of memory: a window of penalties, a grammar that doubles itself.
Below the limit a large allocation fails, and the engine answers 400 and lives on; without one the kernel
kills it, or another process, when the machine is full. Honest work stays below: everything that was planned,
the stack of each thread that can exist, and room on top (measured on b11434, 14 layers, all slots busy and
the prompt cache filled: 279 MiB of 930 with two slots, 590 of 1,120 with eight).
"""

from dataclasses import dataclass

from relayd.units import MIB, Bytes

STACK_BYTES = Bytes(2 * MIB)
"""Soft RLIMIT_STACK of an engine, which is the size of each thread's stack.

With 8 MiB, 30 open connections at planned + 200 MiB ended the engine; below 1 MiB schemas overflow it.
"""

_LEAST_ROOM = Bytes(512 * MIB)
_ROOM_SHARE = 10
"""Beyond the plan an engine may take this part of it, at least `_LEAST_ROOM`."""

POOL_CONNECTIONS = 2
"""Connections to an engine beside one for each slot (`router.pool`)."""

_SPARE_THREADS = 4
_OWN_THREADS = 8
"""Threads of the engine besides those of HTTP and of computing: main, log, queue, signals, some to spare."""


@dataclass(frozen=True, slots=True)
class MemoryWall:
    """What stops one process from taking all memory.

    Attributes:
        limit: Its RLIMIT_DATA; None where there is none, and `oom_score_adj` alone stands.
        reason: Why there is none.
    """

    limit: Bytes | None = None
    reason: str = ""


NO_WALL = MemoryWall(reason="relayd has set none")
"""Of a process whose limit is not known, as of one that an earlier build started."""


def memory_wall(anonymous: int, *, slots: int, cores: int) -> MemoryWall:
    """Return the wall of a process whose memory is all in RAM.

    Args:
        anonymous: Bytes that were planned for it and are not a mapped file, its prompt cache included.
        slots: Requests at once.
        cores: Logical cores of the machine.
    """
    # server-http.cpp: max(slots + 4, cores - 1) threads serve HTTP, and one more each connection beyond them.
    serving = max(slots + 4, cores - 1) + slots + POOL_CONNECTIONS + _SPARE_THREADS
    computing = 2 * cores  # at most, for prompts and for tokens each
    stacks = (serving + computing + _OWN_THREADS) * STACK_BYTES
    room = max(_LEAST_ROOM, anonymous // _ROOM_SHARE)
    return MemoryWall(Bytes(anonymous + stacks + room))

"""What the machine shows of memory: what others hold, what a process holds, what is free again (sight).

Everything is read in a thread: a driver may take seconds to answer.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from relayd.daemon.accounts import MachineAccounts
from relayd.hardware import Held, Machine, held, probe_memory, unmapped_ram
from relayd.memory.weights import CPU
from relayd.units import Bytes

FREED_SECONDS = 5.0
"""How long a driver may take to show that a process which is gone holds nothing (decision 10)."""

_FREED_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class ReplicaHold:
    """A replica's process, as far as its memory goes.

    Attributes:
        pid: The process.
        planned: Account → bytes that it should hold, where a driver does not report what it does.
    """

    pid: int
    planned: Mapping[str, int]


def _probe(gpus: bool) -> Machine:
    return probe_memory(gpus=gpus)


class MemorySight:
    """Looks at the memory of the machine and its processes.

    Args:
        look: Returns the machine as it is now; its argument is whether GPUs are read.
        held_by: Returns what a process holds.
        unmapped: Returns the RAM of a process without the pages of files.
        freed_seconds: How long a driver may take to show what is free again.

    Attributes:
        accounts: What is looked at.
    """

    def __init__(
        self,
        look: Callable[[bool], Machine] = _probe,
        held_by: Callable[[int, Machine], Held | None] = held,
        unmapped: Callable[[int], int] = unmapped_ram,
        *,
        freed_seconds: float = FREED_SECONDS,
    ) -> None:
        self.accounts = MachineAccounts()
        self._look = look
        self._held_by = held_by
        self._unmapped = unmapped
        self._freed_seconds = freed_seconds

    def __repr__(self) -> str:
        return f"<MemorySight of {', '.join(self.accounts.rooms) or 'nothing'}>"

    async def others(self, ours: Iterable[ReplicaHold]) -> dict[str, Bytes]:
        """Return what other programs hold of each account beyond what is reserved for them."""
        holders, accounts = tuple(ours), self.accounts

        def read() -> dict[str, Bytes]:
            # The machine first: what a replica takes meanwhile, as it loads, must not count as others'.
            machine = self._look(accounts.has_devices)
            return accounts.others(machine, [self._now(one, machine) for one in holders])

        return await asyncio.to_thread(read)

    async def held(self, pid: int) -> dict[str, Bytes] | None:
        """Return what a process holds of each account; None if it is gone."""
        accounts = self.accounts

        def read() -> Held | None:
            return self._held_by(pid, self._look(accounts.has_devices))

        found = await asyncio.to_thread(read)
        return accounts.by_account(found.by_device) if found else None

    async def freed(self, pid: int | None, devices: Collection[str]) -> None:
        """Return when drivers show that a process which is gone holds nothing of devices, or time is up.

        Without a pid, or where a driver hides the holders, what is free has to stay the same for two looks.
        """
        loop = asyncio.get_running_loop()
        deadline, before = loop.time() + self._freed_seconds, dict[str, Bytes]()
        while loop.time() < deadline:
            with suppress(OSError):  # out of descriptors: the next look may show it
                machine = await asyncio.to_thread(self._look, True)
                gpus = [gpu for gpu in machine.gpus if gpu.key in devices]
                free = {gpu.key: gpu.memory_free for gpu in gpus}
                if free == before and not any(one.pid == pid for gpu in gpus for one in gpu.holders):
                    return
                before = free
            await asyncio.sleep(_FREED_LOOK_SECONDS)

    def _now(self, holder: ReplicaHold, machine: Machine) -> dict[str, int]:
        """Return what a replica holds, by device; of RAM only what the kernel cannot drop."""
        found = {CPU: self._unmapped(holder.pid)}
        for gpu in machine.gpus:
            told = {one.pid: one.memory for one in gpu.holders if one.memory is not None}
            found[gpu.key] = (told.get(holder.pid) or 0) if told else holder.planned.get(gpu.key, 0)
        return found

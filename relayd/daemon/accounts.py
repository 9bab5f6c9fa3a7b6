"""The ledger's accounts of a machine: what models may take of each, and what of that is left (accounts).

An account is `host` or a device. Memory of a device that is RAM counts twice: within the device's own limit,
and in `host`, of which it is a part.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from relayd.hardware import Machine
from relayd.memory.weights import CPU
from relayd.planner.budget import HOST, Budget
from relayd.units import Bytes


@dataclass(frozen=True, slots=True)
class MachineAccounts:
    """The accounts of one machine.

    Attributes:
        rooms: Account → bytes that models may take, whatever is free at the moment.
        shared: Devices whose memory is RAM.
    """

    rooms: Mapping[str, Bytes] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()

    @classmethod
    def of(cls, budget: Budget | None) -> "MachineAccounts":
        """Return the accounts of a budget that was made without regard to what is free; None has none."""
        if budget is None:
            return cls()
        rooms = {_account(room.key): room.usable for room in budget.rooms}
        return cls(rooms, frozenset(room.key for room in budget.gpus if room.unified))

    @property
    def has_devices(self) -> bool:
        """Whether one of them is a device beside the CPU."""
        return any(account != HOST for account in self.rooms)

    def by_account(self, by_device: Mapping[str, int]) -> dict[str, Bytes]:
        """Return bytes by account, of bytes by device as plans (`host`) or the machine (`cpu`) name it."""
        found: dict[str, Bytes] = {}
        for device, nbytes in by_device.items():
            for account in {_account(device), *([HOST] if device in self.shared else [])}:
                found[account] = Bytes(found.get(account, 0) + nbytes)
        return found

    def others(self, machine: Machine, ours: Iterable[Mapping[str, int]]) -> dict[str, Bytes]:
        """Return what other programs hold of the memory that models may take.

        What is kept in reserve is theirs: only what they hold beyond it counts.

        Args:
            machine: As it is now.
            ours: What each replica holds now, by device; of RAM only what is not a mapped file, as that is
                free for the kernel.
        """
        free = self.by_account({one.key: one.memory_free for one in machine.devices if not one.unified})
        free |= {one.key: one.memory_free for one in machine.gpus if one.unified}
        held: dict[str, int] = {}
        for one in ours:
            for account, nbytes in self.by_account(one).items():
                held[account] = held.get(account, 0) + nbytes
        return {
            account: Bytes(max(0, room - free[account] - held.get(account, 0)))
            for account, room in self.rooms.items()
            if account in free
        }


def _account(device: str) -> str:
    return HOST if device == CPU else device

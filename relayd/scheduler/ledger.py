"""How many bytes of each account are taken, and by which replicas?

What counts for a replica is what it was granted, or what the system shows of it where that is more: an engine
takes a part of its memory only when it works. It counts until the memory is free again, which is later than
the order to end the process.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from relayd.scheduler.memory import Accounts
from relayd.scheduler.views import AccountRow
from relayd.units import Bytes, show_bytes

HOST = "host"
"""The account of the main memory; every other one is a device."""

_NONE: Accounts = {}


def lanes(need: Accounts) -> frozenset[str]:
    """Return where a load takes place: on its devices, or on the host where it needs none of them."""
    taken = frozenset(account for account, count in need.items() if count > 0)
    return taken - {HOST} or taken


@dataclass(slots=True, eq=False)
class _LedgerEntry:
    """What one replica holds."""

    planned: Accounts
    measured: Accounts | None = None
    held: Accounts = field(init=False)

    def __post_init__(self) -> None:
        self.count()

    def count(self) -> None:
        measured = self.measured or _NONE
        accounts = self.planned.keys() | measured.keys()
        self.held = {
            one: max(self.planned.get(one, Bytes(0)), measured.get(one, Bytes(0))) for one in accounts
        }


class Ledger:
    """Bytes of each account: what there is, what replicas hold, what others hold.

    Without `limit` nothing is counted, and everything fits.
    """

    def __init__(self) -> None:
        self._rooms: Accounts | None = None
        self._others: Accounts = {}
        self._entries: dict[str, _LedgerEntry] = {}

    def __repr__(self) -> str:
        free = ", ".join(f"{row.account}={row.free}" for row in self.rows())
        return f"<Ledger of {len(self._entries)} replicas: free {free or 'unlimited'}>"

    def limit(self, rooms: Accounts) -> None:
        """Replace what models may take of each account; without any account nothing is counted."""
        self._rooms = dict(rooms) or None

    def note_others(self, by_account: Accounts) -> None:
        """Replace what other programs hold of each account."""
        self._others = {account: Bytes(max(0, count)) for account, count in by_account.items()}

    def enter(self, replica: str, planned: Accounts) -> None:
        """Count a replica with the bytes that were planned, whether there is room or not."""
        self._entries[replica] = _LedgerEntry(dict(planned))

    def measure(self, replica: str, by_account: Accounts) -> None:
        """Take note of what the system shows of a replica that is counted."""
        if entry := self._entries.get(replica):
            entry.measured = dict(by_account)
            entry.count()

    def release(self, replica: str) -> bool:
        """Count a replica no longer, and return whether it was counted."""
        return self._entries.pop(replica, None) is not None

    def held(self, replica: str) -> Accounts:
        """Return what counts for a replica; empty for one that is not counted."""
        entry = self._entries.get(replica)
        return entry.held if entry else _NONE

    def holds(self, replica: str) -> bool:
        """Return whether a replica is counted."""
        return replica in self._entries

    def entries(self) -> Iterator[tuple[str, Accounts]]:
        """Yield what counts for each replica that is counted."""
        return ((name, entry.held) for name, entry in self._entries.items())

    def is_possible(self, need: Accounts) -> bool:
        """Return whether so much fits where no other replica and no other program is."""
        return self._rooms is None or fits(need, self._rooms)

    def why_impossible(self, need: Accounts) -> str:
        """Return what does not fit, in a clause with need and have."""
        short = missing(need, self._rooms or _NONE)
        shown = (f"{show_bytes(need[one])} of {one}, models may take {self._room_of(one)}" for one in short)
        return f"needs {'; '.join(shown)}"

    def _room_of(self, account: str) -> str:
        return show_bytes((self._rooms or _NONE).get(account, 0))

    def free(self) -> dict[str, Bytes] | None:
        """Return what a grant may take of each account, negative if too much is held; None without limits."""
        if self._rooms is None:
            return None
        free = {account: room - self._others.get(account, 0) for account, room in self._rooms.items()}
        for entry in self._entries.values():
            for account, count in entry.held.items():
                free[account] = free.get(account, 0) - count
        return {account: Bytes(count) for account, count in free.items()}

    def rows(self) -> list[AccountRow]:
        """Return each account that has limits, in the order of their names, the host first."""
        rooms, free = self._rooms or _NONE, self.free() or {}
        return [
            AccountRow(
                account,
                rooms[account],
                _total(account, (entry.planned for entry in self._entries.values())),
                _total(account, (entry.measured or _NONE for entry in self._entries.values())),
                _total(account, (entry.held for entry in self._entries.values())),
                self._others.get(account, Bytes(0)),
                free[account],
            )
            for account in sorted(rooms, key=lambda account: (account != HOST, account))
        ]


def fits(need: Accounts, free: Mapping[str, int]) -> bool:
    """Return whether so much is free; an account that is not listed has none."""
    return all(count <= free.get(account, 0) for account, count in need.items() if count > 0)


def missing(need: Accounts, free: Mapping[str, int]) -> dict[str, Bytes]:
    """Return the bytes of each account that are not free."""
    short = ((account, count - free.get(account, 0)) for account, count in need.items() if count > 0)
    return {account: Bytes(count) for account, count in short if count > 0}


def _total(account: str, entries: Iterable[Accounts]) -> Bytes:
    return Bytes(sum(_of(account, entries)))


def _of(account: str, entries: Iterable[Accounts]) -> Iterator[int]:
    return (entry.get(account, 0) for entry in entries)

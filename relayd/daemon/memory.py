"""How replicas get their memory from the scheduler's ledger, and how it learns what is free again (grants).

The supervisor asks here before each start. Each question, each end of a process and each look at the machine
becomes an event of the scheduler, and its grants become starts. Before a question is posted, the machine is
looked at, so that what other programs hold now counts; while one is open, it is looked at again and again.
Nothing else looks.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from relayd.clock import Clock
from relayd.daemon.accounts import MachineAccounts
from relayd.daemon.sight import MemorySight, ReplicaHold
from relayd.errors import RelaydError
from relayd.journal import Journal
from relayd.planner import Planned
from relayd.planner.budget import HOST, Budget
from relayd.scheduler import (
    Event,
    Grant,
    Holds,
    Measured,
    MemoryAsked,
    MemoryFreed,
    MemoryRoom,
    MemoryTakenBack,
    OthersHold,
)
from relayd.supervisor.grants import Granted
from relayd.units import Bytes

_FRESH_SECONDS = 0.5
"""How long a look at the machine counts as one of now."""

_LOOK_SECONDS = 2.0
"""How often the machine is looked at while a replica waits for memory."""

_JOURNAL = Journal("daemon")

Confirm = Callable[[Planned], Planned]
"""Returns a plan as its engine confirms it, before its first load; may block, runs in a thread."""


def _as_planned(planned: Planned) -> Planned:
    return planned


@dataclass(eq=False, slots=True)
class _MemoryQuestion:
    """A replica's question for the memory of one start."""

    sizes: tuple[Planned, ...]
    granted: Granted
    is_posted: bool = False

    @property
    def replica(self) -> str:
        return self.sizes[0].name


@dataclass(slots=True)
class _Holding:
    """What a replica may hold, by account, and the process that does once it is known."""

    by_account: Mapping[str, Bytes]
    pid: int | None = None

    @property
    def devices(self) -> frozenset[str]:
        return frozenset(self.by_account) - {HOST}


class LedgerGrants:
    """Grants memory as the scheduler's ledger decides; see `supervisor.Grants`.

    Args:
        post: Gives the scheduler an event.
        clock: Time.
        pid: Returns the process of a replica by its name; None while there is none.
        sight: Shows how memory is used.
        confirm: Makes a plan sure before its memory is asked for.
    """

    def __init__(
        self,
        post: Callable[[Event], None],
        clock: Clock,
        pid: Callable[[str], int | None],
        sight: MemorySight,
        confirm: Confirm = _as_planned,
    ) -> None:
        self._post = post
        self._clock = clock
        self._pid = pid
        self._sight = sight
        self._confirm = confirm
        self._questions: dict[str, _MemoryQuestion] = {}
        self._holdings: dict[str, _Holding] = {}
        self._freeing: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._is_closed = False

    def __repr__(self) -> str:
        return (
            f"<LedgerGrants: {len(self._holdings)} hold memory, {len(self._questions)} ask for it, "
            f"{len(self._freeing)} give it back>"
        )

    def configure(self, budget: Budget | None) -> None:
        """Count by another budget from now on; None counts nothing."""
        self._sight.accounts = MachineAccounts.of(budget)
        self._post(MemoryRoom(self._sight.accounts.rooms))

    def hold(self, planned: Planned, pid: int | None) -> None:
        """Enter a replica that is in memory already, whether there is room for it or not.

        Args:
            planned: What runs.
            pid: Its process; None for one that the daemon before this one keeps until it ends.
        """
        holding = _Holding(self._sight.accounts.by_account(planned.needs), pid)
        self._holdings[planned.name] = holding
        self._post(Holds(planned.name, holding.by_account, is_anothers=pid is None))

    def close(self) -> None:
        """Grant nothing more, and post nothing: another daemon's ledger counts from here on."""
        self._is_closed = True
        self._questions.clear()
        for task in tuple(self._tasks):
            task.cancel()

    def ask(self, sizes: Sequence[Planned], granted: Granted) -> Callable[[], None]:
        """Ask for the memory of one start, and return what takes the question back; see `Grants`."""
        question = _MemoryQuestion(tuple(sizes), granted)
        if self._is_closed:
            return lambda: None
        self._questions[question.replica] = question
        self._aside(self._put(question))
        return partial(self._take_back, question)

    def grant(self, effect: Grant) -> None:
        """Have a replica start in the size that was granted."""
        if question := self._questions.pop(effect.replica, None):
            size = question.sizes[effect.size]
            self._holdings[effect.replica] = _Holding(self._sight.accounts.by_account(size.needs))
            question.granted(size)

    def release(self, replica: str) -> None:
        """Take note that a process is gone; its memory is free at once, or once its devices show it."""
        if self._is_closed or (holding := self._holdings.pop(replica, None)) is None:
            return
        if holding.devices:
            self._freeing[replica] = self._aside(self._free(replica, holding))
        else:
            self._post(MemoryFreed(replica))

    async def freed(self, replicas: Iterable[str]) -> None:
        """Wait until the memory of these replicas is free, where their processes are gone."""
        if freeing := [task for name in replicas if (task := self._freeing.get(name))]:
            await asyncio.wait(freeing)

    def measure(self, replica: str) -> None:
        """Have the ledger corrected by what a replica holds that has become ready."""
        if not self._is_closed and replica in self._holdings:
            self._aside(self._measure(replica))

    async def _put(self, question: _MemoryQuestion) -> None:
        """Post a question once the plan is sure, and what is there has been looked at."""
        await self.freed((question.replica,))
        question.sizes = await self._confirmed(question.sizes)
        await self._look()
        if self._questions.get(question.replica) is not question:
            return
        question.is_posted = True
        accounts = self._sight.accounts
        sizes = tuple(accounts.by_account(one.needs) for one in question.sizes)
        self._post(MemoryAsked(question.replica, question.sizes[0].model, sizes))
        while self._questions.get(question.replica) is question:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look()

    async def _confirmed(self, sizes: tuple[Planned, ...]) -> tuple[Planned, ...]:
        try:
            found = [await asyncio.to_thread(self._confirm, one) for one in sizes]
        except (RelaydError, OSError, ValueError) as error:  # the load itself shows what is wrong
            _JOURNAL.error("memory.not_confirmed", replica=sizes[0].name, message=str(error))
            return sizes
        return tuple(found)

    async def _look(self) -> None:
        """Report what other programs hold now, unless that was done a moment ago."""
        async with self._looking:
            if self._clock.monotonic() - self._looked_at < _FRESH_SECONDS:
                return
            ours = [
                ReplicaHold(pid, holding.by_account)
                for replica, holding in self._holdings.items()
                if (pid := self._pid(replica))
            ]
            try:
                found = await self._sight.others(ours)
            except OSError as error:  # out of descriptors: what was known must do
                _JOURNAL.error("memory.not_read", message=str(error))
                return
            self._looked_at = self._clock.monotonic()
        self._post(OthersHold(found))

    async def _measure(self, replica: str) -> None:
        holding, pid = self._holdings.get(replica), self._pid(replica)
        found = None
        while pid and holding and self._holdings.get(replica) is holding:
            try:
                found = await self._sight.held(pid)
                break
            except OSError as error:  # out of descriptors
                _JOURNAL.error("memory.not_read", message=str(error))
                await asyncio.sleep(_LOOK_SECONDS)
        if found and holding and self._holdings.get(replica) is holding:
            holding.pid = pid
            holding.by_account = {**dict.fromkeys(found, Bytes(0)), **holding.by_account}
            self._post(Measured(replica, found))

    async def _free(self, replica: str, holding: _Holding) -> None:
        await self._sight.freed(holding.pid, holding.devices)
        del self._freeing[replica]
        self._post(MemoryFreed(replica))

    def _take_back(self, question: _MemoryQuestion) -> None:
        if self._questions.get(question.replica) is question:
            del self._questions[question.replica]
            if question.is_posted:
                self._post(MemoryTakenBack(question.replica))

    def _aside(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        self._tasks.add(task := asyncio.create_task(work))
        task.add_done_callback(self._tasks.discard)
        return task

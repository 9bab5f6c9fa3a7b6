"""A machine with bounded memory, and a supervisor that does what the scheduler orders, on a clock that jumps.

It keeps its own account of the bytes that processes hold, and checks each order against it.
"""

import heapq
import itertools
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from relayd.endpoint import Endpoint
from relayd.scheduler import (
    Arrived,
    Ask,
    AttemptFailed,
    Dispatch,
    Draining,
    Effect,
    Event,
    Evict,
    EvictionCause,
    Exchange,
    Expected,
    Finished,
    Gone,
    Grant,
    Holds,
    Idle,
    Load,
    LoadFailed,
    LoadWanted,
    Lost,
    Measured,
    MemoryAsked,
    MemoryFreed,
    MemoryPolicy,
    MemoryRoom,
    MemoryTakenBack,
    Move,
    OthersHold,
    Ready,
    Refuse,
    ResidenceSet,
    Resident,
    Scheduler,
    StartWanted,
    Tick,
    Ticket,
    Unloaded,
    UnloadWanted,
)
from relayd.units import Bytes
from tests.scheduler.script import endpoint


def lanes(need: Mapping[str, int]) -> set[str]:
    taken = {account for account, count in need.items() if count}
    return taken - {"host"} or taken


class Life(Enum):
    """What a process of the machine is doing."""

    COLD = "cold"
    WAITING = "waiting"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"


@dataclass(eq=False)
class Process:
    """A replica: its size and speed, and where it stands."""

    name: str
    model: str
    need: Mapping[str, int]
    slots: int = 4
    load_seconds: float = 2.0
    stop_seconds: float = 0.1
    freed_seconds: float = 0.0
    fails: int = 0
    policy: Resident = field(default_factory=Resident)
    life: Life = Life.COLD
    held: Mapping[str, int] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    incarnation: int = 0

    @property
    def endpoint(self) -> Endpoint:
        return endpoint(self.name, self.incarnation)


@dataclass(eq=False)
class Request:
    """A request, and what became of it."""

    id: int
    model: str
    arrived: float
    service_seconds: float
    then: Callable[[], None] = lambda: None
    placed: float = math.nan
    ended: float = math.nan
    refused: str = ""
    reason: str = ""


class Machine:
    """Runs a scheduler against processes that take memory.

    Attributes:
        rooms: Bytes of each account.
        loads: Loads that were ordered and granted, in order.
        reasons: Why loads were given up, for the operator.
        requests: Every request.
    """

    def __init__(self, rooms: Mapping[str, int], policy: MemoryPolicy | None = None) -> None:
        self.scheduler = Scheduler(depth=10_000, memory=policy)
        self.rooms = rooms
        self.now = 0.0
        self.processes: dict[str, Process] = {}
        self.requests: list[Request] = []
        self.loads: list[tuple[float, str]] = []
        self.evictions: Counter[EvictionCause] = Counter()
        self.reasons: list[str] = []
        self.others: Mapping[str, int] = {}
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._inbox: deque[Event] = deque()
        self._is_busy = False
        self.post(MemoryRoom({account: Bytes(count) for account, count in rooms.items()}))

    def add(self, process: Process) -> None:
        self.processes[process.name] = process
        self.post(ResidenceSet(process.name, process.model, process.policy))
        self.post(Unloaded(process.name, process.model, "not loaded"))

    def limit(self, rooms: Mapping[str, int]) -> None:
        self.rooms = rooms
        self.post(MemoryRoom({account: Bytes(count) for account, count in rooms.items()}))

    def use_elsewhere(self, others: Mapping[str, int]) -> None:
        self.others = others
        self.post(OthersHold({account: Bytes(count) for account, count in others.items()}))

    def measure(self, name: str, by_account: Mapping[str, int]) -> None:
        process = self.processes[name]
        if process.life is Life.READY:
            accounts = process.need.keys() | by_account.keys()
            process.held = {one: max(process.need.get(one, 0), by_account.get(one, 0)) for one in accounts}
            self.post(Measured(name, {account: Bytes(count) for account, count in by_account.items()}))

    def adopt(self, process: Process, *, ready_after: float = 0.1, is_anothers: bool = False) -> None:
        """A process of an earlier daemon is there already, whether there is room or not."""
        self.processes[process.name] = process
        process.held, process.life, process.incarnation = process.need, Life.READY, 1
        self.post(ResidenceSet(process.name, process.model, process.policy))
        self.post(Expected(process.name, process.model))
        held = {account: Bytes(count) for account, count in process.need.items()}
        self.post(Holds(process.name, held, is_anothers))
        self.later(ready_after, lambda: self._adopted(process))

    def start(self, name: str) -> None:
        """Start a replica that nothing asks for, as with the daemon or after an end that was not ordered."""
        self._load(self.processes[name])

    def insist(self, name: str) -> None:
        """Start a replica as an operator does."""
        self._load(self.processes[name], insists=True)

    def load(self, model: str) -> None:
        self.post(LoadWanted(model))

    def unload(self, name: str, *, force: bool = False) -> None:
        self.post(UnloadWanted(name, force))

    def pin(self, name: str, pin: bool) -> None:
        process = self.processes[name]
        process.policy = replace(process.policy, pin=pin)
        self.post(ResidenceSet(name, process.model, process.policy))

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._calls, (self.now + seconds, next(self._order), call))

    def run(self, until: float) -> None:
        """Let time pass, tick by tick."""
        while True:
            due = min(self._calls[0][0] if self._calls else math.inf, self.scheduler.tick_due)
            if due > until:
                break
            is_tick = not self._calls or self._calls[0][0] > self.scheduler.tick_due
            assert due >= self.now - 1e-6 or is_tick
            self.now = max(self.now, due)
            if is_tick:
                self.post(Tick())
                assert self.scheduler.tick_due > self.now, "a tick is due at once after a tick"
            else:
                heapq.heappop(self._calls)[2]()
        self.now = until

    def ask(
        self,
        model: str,
        service_seconds: float,
        then: Callable[[], None] = lambda: None,
        wait_seconds: float | None = None,
    ) -> Request:
        request = Request(len(self.requests), model, self.now, service_seconds, then)
        self.requests.append(request)
        deadline = None if wait_seconds is None else self.now + wait_seconds
        self.post(Arrived(Ticket(request.id, Ask(model, deadline=deadline))))
        return request

    def cancel(self, request: Request) -> None:
        """The client of a request that waits leaves."""
        if math.isnan(request.placed) and not request.refused:
            request.refused = "cancelled"
            self.post(Finished(request.id))

    def post(self, event: Event) -> None:
        self._inbox.append(event)
        if self._is_busy:
            return
        self._is_busy = True
        while self._inbox:
            for effect in self.scheduler.handle(self._inbox.popleft(), self.now):
                self._carry_out(effect)
        self._is_busy = False

    def stop(self, name: str) -> None:
        """An operator stops an idle replica: nothing else brings it back."""
        process = self.processes[name]
        process.life, process.held = Life.COLD, {}
        self.post(Lost(name))
        self.post(Gone(name, "it was stopped"))
        self.post(MemoryFreed(name))

    def crash(self, name: str) -> None:
        """A process ends by itself; its requests are tried again, and the supervisor leaves it cold."""
        process = self.processes[name]
        if process.life not in (Life.READY, Life.LOADING, Life.DRAINING):
            return
        failed, process.running = sorted(process.running), set()
        self._stop(process)
        for ticket_id in failed:
            self.requests[ticket_id].placed = math.nan
            self.post(AttemptFailed(ticket_id))

    def held(self, account: str) -> int:
        return sum(process.held.get(account, 0) for process in self.processes.values())

    def _adopted(self, process: Process) -> None:
        if process.life is Life.READY:
            self.post(Ready(process.name, process.model, process.slots, process.endpoint))

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Dispatch(ticket_id, where):
                self._dispatch(ticket_id, where)
            case Refuse(ticket_id, refusal, reason):
                request = self.requests[ticket_id]
                assert math.isnan(request.placed)
                assert not request.refused
                request.refused, request.reason, request.ended = refusal.value, reason, self.now
                self.later(0, request.then)
            case Load(name):
                self._load(self.processes[name])
            case Grant(name):
                self._grant(self.processes[name])
            case Evict():
                self._evict(effect)
            case Idle(name):
                if self.processes[name].life is Life.DRAINING:
                    self._stop(self.processes[name])
            case Move():
                raise AssertionError("nothing was overdue")

    def _dispatch(self, ticket_id: int, where: Endpoint) -> None:
        process, request = self.processes[where.replica], self.requests[ticket_id]
        assert process.life is Life.READY, f"{request} was sent to a process that is {process.life}"
        assert where == process.endpoint
        assert request.model == process.model
        assert math.isnan(request.placed)
        assert not request.refused
        assert len(process.running) < process.slots
        process.running.add(ticket_id)
        request.placed = self.now
        incarnation = process.incarnation

        def end() -> None:
            if process.incarnation == incarnation and ticket_id in process.running:
                self._end(process, ticket_id)

        self.later(request.service_seconds, end)

    def _end(self, process: Process, ticket_id: int) -> None:
        process.running.discard(ticket_id)
        request = self.requests[ticket_id]
        request.ended = self.now
        self.post(Finished(ticket_id, Exchange(ask=Ask(request.model))))
        request.then()

    def _load(self, process: Process, *, insists: bool = False) -> None:
        assert process.life is Life.COLD, f"{process.name} was loaded twice"
        assert not process.held, f"{process.name} was loaded before its memory was free"
        process.life = Life.WAITING
        self.post(Expected(process.name, process.model))
        if insists:
            self.post(StartWanted(process.name))
        sizes = ({account: Bytes(count) for account, count in process.need.items()},)
        self.post(MemoryAsked(process.name, process.model, sizes))

    def _grant(self, process: Process) -> None:
        assert process.life is Life.WAITING, f"{process.name} was granted memory it did not ask for"
        assert not process.held
        process.held = process.need
        for account, count in process.need.items():
            taken = self.held(account) + self.others.get(account, 0)
            assert not count or taken <= self.rooms.get(account, 0), f"{account} is over-committed"
        for other in self.processes.values():
            if other.life is Life.LOADING:
                assert not lanes(process.need) & lanes(other.held), "two loads on one device"
        process.life = Life.LOADING
        process.incarnation += 1
        self.loads.append((self.now, process.name))
        incarnation = process.incarnation

        def loaded() -> None:
            if process.incarnation == incarnation and process.life is Life.LOADING:
                self._loaded(process)

        self.later(process.load_seconds, loaded)

    def _loaded(self, process: Process) -> None:
        if process.fails:
            process.fails -= 1
            self._stop(process)
            self.post(LoadFailed(process.name, "bad file"))
            return
        process.life = Life.READY
        self.post(Ready(process.name, process.model, process.slots, process.endpoint))

    def _evict(self, effect: Evict) -> None:
        process = self.processes[effect.replica]
        self.evictions[effect.cause] += 1
        self.reasons += [effect.reason] if effect.reason else []
        assert not process.running or effect.force, "a busy replica was evicted"
        by_itself = effect.cause not in (EvictionCause.OPERATOR, EvictionCause.NOBODY_WAITS)
        assert not (process.life is Life.READY and process.policy.pin and by_itself), (
            "a pinned one was evicted"
        )
        match process.life:
            case Life.WAITING:
                process.life = Life.COLD
                self.post(MemoryTakenBack(process.name))
                self.post(Unloaded(process.name, process.model, "given up"))
            case Life.LOADING:
                self._stop(process)
            case Life.READY:
                process.life = Life.DRAINING
                self.post(Draining(process.name))
                if effect.force:
                    self.crash(process.name)
            case Life.DRAINING:
                if effect.force:
                    self.crash(process.name)
            case Life.COLD:
                raise AssertionError(f"{process.name} was evicted although it is not loaded")
            case Life.STOPPING:
                pass

    def _stop(self, process: Process) -> None:
        was_ready = process.life in (Life.READY, Life.DRAINING)
        process.life = Life.STOPPING
        if was_ready:
            self.post(Lost(process.name))

        def reaped() -> None:
            process.life = Life.COLD
            self.post(Unloaded(process.name, process.model, "unloaded"))
            self.later(process.freed_seconds, freed)

        def freed() -> None:
            process.held = {}
            self.post(MemoryFreed(process.name))

        self.later(process.stop_seconds, reaped)

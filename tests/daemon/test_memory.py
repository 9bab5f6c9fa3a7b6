"""Questions, ends of processes and looks at the machine become events, and grants become starts."""

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from relayd.clock import SystemClock
from relayd.config.schema import MemoryBudget
from relayd.daemon import memory
from relayd.daemon.memory import LedgerGrants
from relayd.daemon.sight import MemorySight
from relayd.errors import EngineError
from relayd.hardware import Cpu, Device, DeviceKind, Held, Machine, Memory, MemoryHolder
from relayd.planner import Planned, ReplicaSpec
from relayd.planner.budget import Budget
from relayd.planner.reserve import allowance
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
from relayd.units import GIB, Bytes

pytestmark = pytest.mark.pure

PID = 4711
PLANNED = Planned(ReplicaSpec("m", 0, Path("/m.gguf")), {"host": Bytes(GIB)})
ON_CARD = replace(PLANNED, needs={"host": Bytes(GIB), "cuda0": Bytes(2 * GIB)})


def machine(*holders: int, free: int = 24 * GIB, gpu: bool = True) -> Machine:
    held = tuple(MemoryHolder(pid, "llama-server", Bytes(GIB)) for pid in holders)
    card = Device(DeviceKind.CUDA, 0, "GPU-0", "card", Bytes(24 * GIB), Bytes(free), holders=held)
    ram = Memory(Bytes(8 * GIB), Bytes(8 * GIB))
    return Machine("linux", "x86_64", Cpu("c", 8, 16, 8), ram, (card,) if gpu else ())


@dataclass
class Told:
    """A ledger that notes what it is told, and machines that are seen one after the other."""

    machines: list[Machine] = field(default_factory=lambda: [machine(gpu=False)])
    events: list[Event] = field(default_factory=list)
    granted: list[Planned] = field(default_factory=list)
    looks: int = 0

    def look(self, _gpus: bool) -> Machine:
        self.looks += 1
        return self.machines.pop(0) if len(self.machines) > 1 else self.machines[0]

    def grants(
        self, *, freed_seconds: float = 60, confirm: Callable[[Planned], Planned] | None = None
    ) -> LedgerGrants:
        sight = MemorySight(
            self.look,
            lambda pid, _: Held({"cpu": Bytes(pid), "cuda0": Bytes(1)}, "pss"),
            lambda _: 0,
            freed_seconds=freed_seconds,
        )
        more = {"confirm": confirm} if confirm else {}
        return LedgerGrants(self.events.append, SystemClock(), lambda _: PID, sight, **more)

    def of(self, *kinds: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kinds)]

    async def until(self, kind: type[Event], count: int = 1) -> None:
        while len(self.of(kind)) < count:
            await asyncio.sleep(0)


def budget(seen: Machine) -> Budget:
    return allowance(seen, MemoryBudget(host_mib=2048, device_mib=4096))


def test_a_question_is_posted_after_a_look_at_what_others_hold(runner: asyncio.Runner) -> None:
    told = Told()

    async def story() -> None:
        grants = told.grants()
        grants.configure(budget(machine(gpu=False)))
        grants.ask([PLANNED], told.granted.append)
        await told.until(MemoryAsked)
        grants.grant(Grant("m#0", 0))
        grants.close()

    runner.run(story())
    assert [
        MemoryRoom({"host": Bytes(2 * GIB)}),
        OthersHold({"host": Bytes(0)}),
        MemoryAsked("m#0", "m", ({"host": Bytes(GIB)},)),
    ] == told.events
    assert [PLANNED] == told.granted


def test_the_size_that_is_granted_starts(runner: asyncio.Runner) -> None:
    told, smaller = Told(), replace(PLANNED, needs={"host": Bytes(1)})

    async def story() -> None:
        grants = told.grants()
        grants.ask([PLANNED, smaller], told.granted.append)
        await told.until(MemoryAsked)
        grants.grant(Grant("m#0", 1))
        grants.grant(Grant("m#0", 1))
        grants.close()

    runner.run(story())
    assert [smaller] == told.granted


def test_a_question_that_is_taken_back_is_not_granted(runner: asyncio.Runner) -> None:
    told = Told()

    async def story() -> None:
        grants = told.grants()
        take_back = grants.ask([PLANNED], told.granted.append)
        take_back()
        again = grants.ask([PLANNED], told.granted.append)
        await told.until(MemoryAsked)
        again()
        again()
        grants.grant(Grant("m#0", 0))
        grants.close()

    runner.run(story())
    assert [MemoryTakenBack("m#0")] == told.of(MemoryTakenBack)
    assert [] == told.granted


def test_memory_is_free_once_the_process_is_gone_and_only_once(runner: asyncio.Runner) -> None:
    told = Told()

    async def story() -> None:
        grants = told.grants()
        grants.ask([PLANNED], told.granted.append)
        await told.until(MemoryAsked)
        grants.release("m#0")  # it holds nothing yet
        grants.grant(Grant("m#0", 0))
        grants.release("m#0")
        grants.release("m#0")
        grants.close()

    runner.run(story())
    assert [MemoryFreed("m#0")] == told.of(MemoryFreed)


def test_memory_of_a_device_is_free_once_its_driver_shows_it_and_asked_for_then(
    runner: asyncio.Runner,
) -> None:
    told = Told([machine(PID), machine(PID), machine(free=20 * GIB), machine(), machine()])

    async def story() -> None:
        grants = told.grants()
        grants.hold(ON_CARD, PID)
        grants.release("m#0")
        grants.ask([ON_CARD], told.granted.append)
        await told.until(MemoryAsked)
        grants.close()

    runner.run(story())
    assert [MemoryFreed, MemoryAsked] == [type(event) for event in told.of(MemoryFreed, MemoryAsked)]
    assert 5 <= told.looks


def test_a_driver_that_shows_nothing_is_waited_for_no_longer_than_its_time(runner: asyncio.Runner) -> None:
    told = Told([machine(PID)])

    async def story() -> None:
        grants = told.grants(freed_seconds=0.05)
        grants.hold(ON_CARD, PID)
        grants.release("m#0")
        await told.until(MemoryFreed)

    runner.run(story())


def test_what_is_in_memory_already_is_entered_and_measured(runner: asyncio.Runner) -> None:
    told = Told()

    async def story() -> None:
        grants = told.grants()
        grants.hold(ON_CARD, PID)
        grants.measure("m#0")
        grants.measure("unknown#0")
        await told.until(Measured)

    runner.run(story())
    assert [
        Holds("m#0", ON_CARD.needs),
        Measured("m#0", {"host": Bytes(PID), "cuda0": Bytes(1)}),
    ] == told.events


def test_what_cannot_be_read_for_want_of_descriptors_is_read_later(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_LOOK_SECONDS", 0.0)
    told, failures = Told([machine(free=20 * GIB)]), [2]

    def look(gpus: bool) -> Machine:
        if failures[0]:
            failures[0] -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return told.look(gpus)

    async def story() -> None:
        sight = MemorySight(look, lambda pid, _: Held({"cpu": Bytes(pid)}, "pss"), lambda _: 0)
        grants = LedgerGrants(told.events.append, SystemClock(), lambda _: PID, sight)
        grants.hold(ON_CARD, PID)
        grants.measure("m#0")
        await told.until(Measured)
        failures[0] = 2
        grants.release("m#0")
        await told.until(MemoryFreed)

    runner.run(story())
    assert [0] == failures


def test_a_plan_is_confirmed_before_its_memory_is_asked_for(runner: asyncio.Runner) -> None:
    told, sure = Told(), replace(PLANNED, needs={"host": Bytes(7)})

    async def story() -> None:
        grants = told.grants(confirm=lambda _: sure)
        grants.ask([PLANNED], told.granted.append)
        await told.until(MemoryAsked)
        grants.grant(Grant("m#0", 0))
        grants.close()

    runner.run(story())
    assert [MemoryAsked("m#0", "m", ({"host": Bytes(7)},))] == told.of(MemoryAsked)
    assert [sure] == told.granted


def test_a_confirmation_that_fails_leaves_the_plan_as_it_is(runner: asyncio.Runner) -> None:
    told = Told()

    def fail(_: Planned) -> Planned:
        raise EngineError("no engine")

    async def story() -> None:
        grants = told.grants(confirm=fail)
        grants.ask([PLANNED], told.granted.append)
        await told.until(MemoryAsked)
        grants.close()

    runner.run(story())
    assert [MemoryAsked("m#0", "m", (PLANNED.needs,))] == told.of(MemoryAsked)


def test_a_daemon_that_has_handed_over_grants_and_reports_nothing(runner: asyncio.Runner) -> None:
    told = Told()

    async def story() -> None:
        grants = told.grants()
        grants.hold(PLANNED, PID)
        take_back = grants.ask([PLANNED], told.granted.append)
        await told.until(MemoryAsked)
        grants.close()
        before = list(told.events)
        take_back()
        grants.ask([PLANNED], told.granted.append)
        grants.grant(Grant("m#0", 0))
        grants.release("m#0")
        grants.measure("m#0")
        await asyncio.sleep(0)
        assert before == told.events

    runner.run(story())
    assert [] == told.granted


def test_who_loads_a_replica_again_can_wait_until_its_memory_is_free(runner: asyncio.Runner) -> None:
    told = Told([machine(PID), machine(PID), machine(free=20 * GIB), machine(), machine()])

    async def story() -> None:
        grants = told.grants()
        grants.hold(ON_CARD, PID)
        await grants.freed(["m#0", "unknown#0"])
        grants.release("m#0")
        await grants.freed(["m#0", "unknown#0"])
        assert [MemoryFreed("m#0")] == told.of(MemoryFreed)

    runner.run(story())


def test_a_process_that_ends_before_it_is_measured_is_not(runner: asyncio.Runner) -> None:
    told = Told()

    async def story() -> None:
        grants = told.grants()
        grants.hold(PLANNED, PID)
        grants.measure("m#0")
        (measuring,) = grants._tasks
        grants.release("m#0")
        await measuring

    runner.run(story())
    assert [] == told.of(Measured)

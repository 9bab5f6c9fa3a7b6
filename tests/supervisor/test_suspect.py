"""A replica that owes the end of a request is looked at, and ended if its inference thread stands still."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from relayd.clock import SystemClock
from relayd.endpoint import Endpoint
from relayd.supervisor import Dependencies, Fleet, Settings, State
from relayd.supervisor.causes import Cause
from tests.supervisor.sleepers import FAST, PLANNED, Launcher, Listener, until

pytestmark = pytest.mark.fake

BUSY = ("sh", "-c", "ulimit -t 100; while :; do :; done")
"""Ends by itself, should a failing test leave it behind."""
IDLE = ("sleep", "60")
QUICK = replace(FAST, probe=msgspec.structs.replace(FAST.probe, ready_seconds=600, suspect_seconds=0.4))


@dataclass
class Engine:
    """Is ready, and reports decodes as it is told to; None is no answer."""

    decodes: Sequence[int | None]
    asked: int = 0

    async def __call__(
        self, endpoint: Endpoint, path: str, *, with_key: bool, timeout_seconds: float
    ) -> tuple[int, bytes]:
        if path == "/health":
            return 200, b'{"status":"ok"}'
        if path == "/props":
            return (200 if with_key else 401), b"{}"
        decodes = self.decodes[min(self.asked, len(self.decodes) - 1)]
        self.asked += 1
        if decodes is None:
            raise OSError("no answer in time")
        return 200, f"llamacpp:n_decode_total {decodes}\n".encode()


def suspected(folder: Path, command: tuple[str, ...], *decodes: int | None, ends: bool) -> Cause | None:
    """Return why a replica of this behaviour ended after it was suspected; None if it did not."""
    engine, launcher = Engine(decodes), Launcher(folder, command=command)
    needs = Dependencies(launcher, Listener(), SystemClock(), engine)

    async def story() -> Cause | None:
        fleet = Fleet([PLANNED], needs, QUICK)
        (replica,) = fleet.select(None)
        async with asyncio.timeout(60):
            fleet.load()
            await replica.reached(State.READY)
            fleet.suspect("m#0")
            fleet.suspect("m#0")  # one look at a time
            await until(
                lambda: replica.status().last_exit is not None if ends else engine.asked == len(decodes)
            )
            for _ in range(20):
                await asyncio.sleep(0)
            last = replica.status().last_exit
            await fleet.stop([replica], 0)
        assert len(decodes) == engine.asked
        return last.cause if last else None

    return asyncio.run(story())


@pytest.mark.parametrize("decodes", [(7, 7), (None, None), (7, None, None)])
def test_one_that_burns_cpu_and_decodes_nothing_is_ended(
    tmp_path: Path, decodes: tuple[int | None, ...]
) -> None:
    assert Cause.NOT_ANSWERING is suspected(tmp_path, BUSY, *decodes, ends=True)


@pytest.mark.parametrize(("command", "decodes"), [(BUSY, (7, 8)), (IDLE, (7, 7)), (BUSY, (None, 7))])
def test_one_that_decodes_or_waits_is_left_alone(
    tmp_path: Path, command: tuple[str, ...], decodes: tuple[int | None, ...]
) -> None:
    assert None is suspected(tmp_path, command, *decodes, ends=False)


def test_one_that_is_held_by_a_request_is_ended_also_when_that_was_left(tmp_path: Path) -> None:
    looks = iter([True])
    needs = Dependencies(
        Launcher(tmp_path, command=BUSY), Listener(), SystemClock(), Engine((None,)),
        busy=lambda _: next(looks, False),
    )  # fmt: skip
    watched = replace(FAST, probe=msgspec.structs.replace(FAST.probe, ready_seconds=0.1, suspect_seconds=0.4))

    async def story() -> None:
        fleet = Fleet([PLANNED], needs, watched)
        (replica,) = fleet.select(None)
        async with asyncio.timeout(60):
            fleet.load()
            await until(lambda: replica.status().last_exit is not None)
            last = replica.status().last_exit
            await fleet.stop([replica], 0)
        assert last is not None
        assert (Cause.NOT_ANSWERING, 1.0) == (last.cause, last.blame)

    asyncio.run(story())


def test_one_that_reports_no_work_gets_no_more_until_it_does(tmp_path: Path) -> None:
    engine = Engine((None,))
    needs = Dependencies(
        Launcher(tmp_path, command=IDLE), Listener(), SystemClock(), engine, busy=lambda _: True
    )
    watched = replace(FAST, probe=msgspec.structs.replace(FAST.probe, ready_seconds=0.05))

    async def story() -> None:
        fleet = Fleet([PLANNED], needs, watched)
        (replica,) = fleet.select(None)
        async with asyncio.timeout(60):
            fleet.load()
            await replica.reached(State.READY)
            await until(lambda: replica.state is State.UNHEALTHY)
            engine.decodes = (7,)
            await until(lambda: replica.state is State.READY)
            await fleet.stop([replica], 0)

    asyncio.run(story())


def test_a_process_is_renewed_one_at_a_time_and_nothing_is_counted_against_it(
    tmp_path: Path,
) -> None:
    launcher = Launcher(tmp_path)
    needs = Dependencies(launcher, Listener(), SystemClock(), Engine((0,)))
    plan = [PLANNED, replace(PLANNED, spec=replace(PLANNED.spec, index=1))]
    settings = Settings(msgspec.structs.replace(FAST.replicas, drain_seconds=600), FAST.restart, QUICK.probe)

    async def story() -> None:
        fleet = Fleet(plan, needs, settings)
        first, second = fleet.select(None)
        async with asyncio.timeout(60):
            fleet.load()
            await first.reached(State.READY)
            await second.reached(State.READY)
            fleet.renew("m#0", "std::bad_alloc")
            fleet.renew("m#1", "std::bad_alloc")
            fleet.renew("unknown#0", "std::bad_alloc")
            assert (State.DRAINING, State.READY) == (first.state, second.state)
            fleet.idle("m#0")
            await until(lambda: len(launcher.children) == 3)
            await first.reached(State.READY)
            status = first.status()
            assert (2, 0, FAST.restart.budget) == (status.incarnation, status.restarts, status.budget_left)
            await fleet.stop(fleet.select(None), 0)

    asyncio.run(story())

"""S01 to S20: what a replica does, and in which order."""

import asyncio
import errno
import os
import random
import signal
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.endpoint import Endpoint, UnixAddress
from relayd.scheduler import Arrived, Ask, Dispatch, Draining, Gone, Lost, Ready, Scheduler, Ticket
from relayd.secret import Secret
from relayd.supervisor.causes import Cause
from relayd.supervisor.state import ALIVE, TRANSITIONS, Event, State
from tests.contract.stage import Stage, no_descriptor_left, on_both, pid_of, quick, until


@pytest.mark.pure
def test_s01_a_start_means_something_only_where_nothing_runs() -> None:
    begins = {state for state, row in TRANSITIONS.items() if row.get(Event.START) is State.WAITING}

    assert {State.COLD, State.STOPPED, State.BACKOFF, State.FATAL} == begins
    assert set(State) == begins | ALIVE | {State.WAITING, State.EXITED}


@pytest.mark.fake
@pytest.mark.parametrize(
    ("make", "number"), [(lambda _: None, errno.ENOENT), (lambda path: path.write_text(""), errno.EACCES)]
)
def test_s02_an_engine_that_cannot_be_started_is_given_up_at_once(
    stage: Stage, make: object, number: int
) -> None:
    program = stage.home / "llama-server"
    assert callable(make)
    make(program)
    stage.program = (str(program),)
    replica = stage.replica()

    async def story() -> None:
        replica.start()
        assert State.FATAL is await replica.reached(State.FATAL)
        last = replica.status().last_exit
        assert last
        assert str(program) in last.message
        assert os.strerror(number) in last.message
        assert 1 == replica.status().incarnation

    stage.play(story, replica)


@pytest.mark.fake
def test_s03_without_a_descriptor_a_start_is_tried_again(stage: Stage) -> None:
    replica = stage.replica()

    async def story() -> None:
        with no_descriptor_left():
            replica.start()
            assert State.BACKOFF is await replica.reached(State.BACKOFF)
        await replica.reached(State.READY)

    stage.play(story, replica)


REPLICAS = ("m#0", "m#1", "m#2")
NEWS = st.tuples(st.sampled_from(("ready", "lost", "draining", "gone", "arrived")), st.sampled_from(REPLICAS))


@pytest.mark.pure
@given(st.lists(NEWS, max_size=60))
def test_s04_only_a_ready_replica_is_given_work(news: list[tuple[str, str]]) -> None:
    scheduler = Scheduler(depth=1000, attempts=3, avoid_seconds=0)
    ready: dict[str, int] = {}
    for number, (what, replica) in enumerate(news):
        endpoint = Endpoint(UnixAddress(Path("/s")), Secret("k"), replica, number)
        match what:
            case "ready":
                ready[replica] = number
                event: object = Ready(replica, "m", 2, endpoint)
            case "lost" | "draining" | "gone":
                ready.pop(replica, None)
                event = {"lost": Lost(replica), "draining": Draining(replica), "gone": Gone(replica, "x")}[
                    what
                ]
            case _:
                event = Arrived(Ticket(number, Ask("m", deadline=1e9)))
        for effect in scheduler.handle(event, float(number)):  # type: ignore[arg-type]  # one of the events above
            if isinstance(effect, Dispatch):
                assert ready.get(effect.endpoint.replica) == effect.endpoint.incarnation


@pytest.mark.fake
@on_both
def test_s05_to_load_is_no_failure(stage: Stage) -> None:
    replica = stage.replica("hold", settings=quick(failures=1, hung_seconds=0.1))
    seen: set[State] = set()

    async def story() -> None:
        replica.start()
        while replica.state is not State.READY:
            seen.add(replica.state)
            if stage.log().count("GET /health") > 20:
                stage.go()
            await asyncio.sleep(0.005)

    stage.play(story, replica)
    assert {State.STARTING, State.LOADING} == seen
    assert 1 == replica.status().incarnation


@pytest.mark.fake
def test_s06_a_load_that_moves_may_take_any_time(stage: Stage) -> None:
    replica = stage.replica("load=3", settings=quick(load_stall_seconds=1))

    async def story() -> None:
        replica.start()
        await replica.reached(State.READY)

    stage.play(story, replica)
    assert 1 == replica.status().incarnation


@pytest.mark.fake
@on_both
def test_s06_a_load_that_stalls_is_ended(stage: Stage) -> None:
    replica = stage.replica("stall,lives=1", settings=quick(load_stall_seconds=0.25))

    async def story() -> None:
        replica.start()
        await replica.reached(State.READY)
        last = replica.status().last_exit
        assert last
        assert Cause.NOT_ANSWERING is last.cause
        assert "nothing moved" in last.message

    stage.play(story, replica)
    assert 2 == replica.status().incarnation


@pytest.mark.fake
@on_both
def test_s08_only_a_stable_time_makes_the_delays_start_over(stage: Stage) -> None:
    replica = stage.replica(settings=quick(first_delay_seconds=0.05, max_delay_seconds=9))

    async def delay_after_kill() -> float:
        await replica.reached(State.READY)
        os.kill(pid_of(replica), signal.SIGSEGV)
        await replica.reached(State.BACKOFF)
        status = replica.status()
        assert status.retry_at
        return status.retry_at - status.since

    async def story() -> None:
        replica.start()
        delays = [await delay_after_kill() for _ in range(2)]
        await replica.reached(State.READY)
        stage.clock.monotonic_ahead += 121
        delays.append(await delay_after_kill())
        assert [0.05, 0.1, 0.05] == pytest.approx(delays, rel=0.25)

    stage.play(story, replica)


@pytest.mark.fake
@on_both
def test_s11_a_changed_spec_leaves_fatal(stage: Stage) -> None:
    replica = stage.replica("exit=1", settings=quick(budget=1))

    async def story() -> None:
        replica.start()
        await replica.reached(State.FATAL)
        replica.restart(stage.planned())
        await replica.reached(State.READY)

    stage.play(story, replica)


@pytest.mark.fake
@on_both
@pytest.mark.parametrize("faults", ["mute", "stall"])
def test_s14_a_stop_works_while_a_replica_starts_and_loads(stage: Stage, faults: str) -> None:
    replica = stage.replica(faults, settings=quick(stop_seconds=600))

    async def story() -> None:
        replica.start()
        await replica.reached(State.STARTING if faults == "mute" else State.LOADING)
        replica.stop(0.01)
        await replica.down()
        last = replica.status().last_exit
        assert last
        assert Cause.COMMANDED is last.cause

    stage.play(story, replica)


@pytest.mark.fake
@on_both
def test_s16_a_hung_replica_is_killed_to_be_started_again(stage: Stage) -> None:
    replica = stage.replica()

    async def story() -> None:
        replica.start()
        await replica.reached(State.READY)
        os.kill(pid_of(replica), signal.SIGSTOP)
        await replica.reached(State.UNHEALTHY)
        await until(lambda: replica.status().incarnation == 2)
        await replica.reached(State.READY)
        assert 1 == replica.status().restarts

    stage.play(story, replica)


@pytest.mark.fake
@on_both
def test_s17_what_an_earlier_incarnation_still_says_changes_nothing(stage: Stage) -> None:
    replica = stage.replica(settings=quick(failures=1, timeout_seconds=0.2))

    async def story() -> None:
        replica.start()
        await replica.reached(State.READY)
        os.kill(pid_of(replica), signal.SIGSTOP)
        await replica.reached(State.UNHEALTHY)  # one probe has failed, and the next one hangs
        os.kill(pid_of(replica), signal.SIGKILL)
        await until(lambda: replica.status().incarnation == 2)
        await replica.reached(State.READY)
        heard, asked = len(stage.listener.heard), stage.log().count("GET /health")
        # Ten probes, 0.05 s apart: longer than the timeout of the one that hung.
        await until(lambda: stage.log().count("GET /health") > asked + 10)
        assert (State.READY, heard) == (replica.state, len(stage.listener.heard))

    stage.play(story, replica)


@pytest.mark.fake
def test_s19_s28_no_sequence_of_commands_makes_twins_or_zombies(stage: Stage) -> None:
    stage.program = ("/bin/sleep", "60")
    names = ("a", "b", "c")
    replicas = {name: stage.replica(name=name, settings=quick(budget=1000)) for name in names}
    dice = random.Random(6)
    wanted = dict.fromkeys(names, False)
    started: set[int] = set()

    def check() -> None:
        living = list(stage.living().values())
        assert len(living) == len(set(living)), living
        started.update(pid for replica in replicas.values() if (pid := replica.status().pid))

    async def story() -> None:
        for _ in range(100):
            name, what = dice.choice(names), dice.choice(("start", "stop", "kill"))
            replica = replicas[name]
            if what == "kill" and (pid := replica.status().pid):
                os.kill(pid, signal.SIGKILL)
            elif what != "kill":
                wanted[name] = what == "start"
                replica.start() if what == "start" else replica.stop(0.01)
            check()
            await asyncio.sleep(dice.choice((0, 0.01)))
        for name, replica in replicas.items():
            await replica.reached(*((State.STARTING,) if wanted[name] else (State.STOPPED,)))
        check()

    stage.play(story, *replicas.values())
    assert not any(psutil.pid_exists(pid) for pid in started), "a zombie is left"


@pytest.mark.fake
@on_both
def test_s20_a_slow_stop_holds_no_other_up(stage: Stage) -> None:
    slow = stage.replica("ignore-term", name="slow", settings=quick(stop_seconds=600))
    other = stage.replica(name="other")

    async def story() -> None:
        for replica in (slow, other):
            replica.start()
        for replica in (slow, other):
            await replica.reached(State.READY)
        slow.stop(0.01)
        other.stop(0.01)
        await other.down()
        assert State.STOPPING is slow.state
        slow.kill()

    stage.play(story, slow, other)

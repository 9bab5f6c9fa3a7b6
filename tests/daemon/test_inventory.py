"""Replicas without a process go over as they are: stopped, cold, or waiting for their next start."""

import asyncio
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relayd.daemon.arguments import StopArguments
from relayd.daemon.inventory import handover_state
from relayd.daemon.takeover import Claim, Takeover
from relayd.endpoint import Endpoint
from relayd.errors import RequestError
from relayd.handover import HandoverState
from relayd.lock import Lock
from relayd.scheduler import Ask, Dispatch, Refusal, Refuse, Ticket
from relayd.supervisor import State
from relayd.supervisor.causes import Cause, Exit
from relayd.supervisor.restarts import CountedExit, Spent
from relayd.supervisor.sizing import line_of
from relayd.supervisor.snapshot import Snapshot
from relayd.supervisor.state import SETTLED
from tests.daemon.assembled import MODEL, Assembled, desired, with_parts

pytestmark = pytest.mark.system

OTHER = msgspec.structs.replace(MODEL, name="other", aliases=(), replicas=1)
REASON = "other models needed its memory"
LATER = time.time() + 3600
CRASH = Exit(Cause.CRASH, -11, "it crashed", "See its log.")


@dataclass
class Holder:
    """Keeps what the scheduler answers a request."""

    answers: list[Dispatch | Refuse] = field(default_factory=list)

    def settle(self, answer: Dispatch | Refuse) -> None:
        self.answers.append(answer)

    def interrupt(self, error: RequestError) -> None:
        raise AssertionError("a successor's requests are not interrupted")

    def interrupt_on(self, endpoint: Endpoint, error: RequestError) -> None:
        raise AssertionError("a successor's requests are not interrupted")


def taken_over(home: Path, state: HandoverState) -> tuple[dict[str, str], dict[str, Refuse]]:
    """Return the states of a daemon that took over, and how it refuses a request for each of its models."""

    async def story(daemon: Assembled) -> tuple[dict[str, str], dict[str, Refuse]]:
        await Takeover(daemon.parts, Claim(Lock(home / "lock", -1), state=state)).run()
        states = {one.name: one.state.value for one in daemon.parts.fleet.select(None)}
        refusals = {}
        for replica in daemon.parts.fleet.select(None):
            await replica.reached(*SETTLED)
        for model in daemon.parts.desired.config.model:
            ticket, holder = Ticket(daemon.parts.dispatcher.next_id(), Ask(model.name)), Holder()
            daemon.parts.dispatcher.enter(ticket, holder)
            while not holder.answers:
                await asyncio.sleep(0.002)
            (refusal,) = holder.answers
            assert isinstance(refusal, Refuse)
            refusals[model.name] = refusal
        return states, refusals

    return with_parts(desired(home, MODEL, OTHER), story)


def test_stopped_and_cold_are_told_apart(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> HandoverState:
        await daemon.operations.stop(StopArguments("m"))
        daemon.parts.fleet.unload("other#0", REASON)
        return handover_state(daemon.parts)

    state = with_parts(desired(tmp_path, MODEL, OTHER), story)

    assert {"m#0": (State.STOPPED, ""), "m#1": (State.STOPPED, ""), "other#0": (State.COLD, REASON)} == {
        name: (one.state, one.reason) for name, one in state.replicas.items()
    }


def of(home: Path, **fields: Any) -> Snapshot:
    """Return what is known of a replica of `MODEL`, of its present line."""
    return Snapshot(line_of(desired(home, MODEL).plan[0]), **fields)


def test_a_successor_refuses_what_is_stopped_and_loads_what_is_cold_without_naming_others(
    tmp_path: Path,
) -> None:
    stopped, cold = Snapshot("any", State.STOPPED), Snapshot("any", State.COLD, REASON)
    state = HandoverState(replicas={"m#0": stopped, "m#1": stopped, "other#0": cold})
    states, refusals = taken_over(tmp_path, state)

    assert {"m#0": "stopped", "m#1": "stopped", "other#0": "cold"} == states
    assert Refusal.UNAVAILABLE is refusals["m"].refusal
    assert "m#0 is stopped" in refusals["m"].reason
    assert "other#0" in refusals["other"].reason  # it was tried, and there is no engine
    assert "m#" not in refusals["other"].reason


SPENT = Spent((CountedExit(LATER - 3700, 1, frozenset({"7d1a"})),), failures=4)


def crossed(home: Path, known: Snapshot) -> tuple[Snapshot, Snapshot]:
    """Return what one daemon knows of `m#0` that resumed it, and then its successor."""

    async def leave(daemon: Assembled) -> HandoverState:
        daemon.parts.fleet.resume({"m#0": known})
        return handover_state(daemon.parts)

    async def take(daemon: Assembled) -> HandoverState:
        await Takeover(daemon.parts, Claim(Lock(home / "lock", -1), state=state)).run()
        return handover_state(daemon.parts)

    state = with_parts(desired(home, MODEL), leave)
    after = with_parts(desired(home, MODEL), take)
    return state.replicas["m#0"], after.replicas["m#0"]


def same(before: Snapshot, after: Snapshot) -> bool:
    """Return whether two are equal, but for the time that passed between their clocks."""
    (counted,) = after.spent.exits
    assert before.spent.exits[0].at == pytest.approx(counted.at, abs=60)
    assert before.retry_at == (None if after.retry_at is None else pytest.approx(after.retry_at, abs=60))
    return before == replace(after, retry_at=before.retry_at, spent=before.spent)


def test_a_replica_that_waits_for_its_next_start_goes_on_waiting(tmp_path: Path) -> None:
    known = of(
        tmp_path, state=State.BACKOFF, retry_at=LATER, spent=SPENT, incarnation=7, restarts=6,
        last_exit=CRASH, last_exit_at=LATER - 7200,
    )  # fmt: skip

    before, after = crossed(tmp_path, known)

    assert (State.BACKOFF, CRASH, 4) == (after.state, after.last_exit, after.spent.failures)
    assert same(known, before)
    assert same(before, after)


def test_a_replica_that_was_given_up_stays_so_with_its_reason_and_its_spent_budget(tmp_path: Path) -> None:
    known = of(
        tmp_path, state=State.FATAL, spent=SPENT, incarnation=7, last_exit=CRASH,
        last_exit_at=LATER - 7200, last_words=("GGML_ASSERT",),
    )  # fmt: skip

    before, after = crossed(tmp_path, known)

    assert (State.FATAL, ("GGML_ASSERT",)) == (after.state, after.last_words)
    assert same(known, before)
    assert same(before, after)


def test_what_another_line_has_spent_is_not_this_ones(tmp_path: Path) -> None:
    known = Snapshot("another", State.FATAL, spent=SPENT, incarnation=7, last_exit=CRASH)

    states, _ = taken_over(tmp_path, HandoverState(replicas={"m#0": known}))

    assert "fatal" != states["m#0"], "it is started"


def test_what_was_learnt_of_service_times_goes_over(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> HandoverState:
        await Takeover(daemon.parts, Claim(Lock(tmp_path / "lock", -1), state=state)).run()
        return handover_state(daemon.parts)

    state = HandoverState(service_seconds={"m": 12.5})

    assert {"m": 12.5} == with_parts(desired(tmp_path, MODEL), story).service_seconds


def test_bodies_that_are_refused_or_suspected_go_over(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> HandoverState:
        await Takeover(daemon.parts, Claim(Lock(tmp_path / "lock", -1), state=state)).run()
        return handover_state(daemon.parts)

    state = HandoverState(refused={"7d1a": 5e9}, suspected={"99ff": (1.0, 5e9)})
    found = with_parts(desired(tmp_path, MODEL), story)

    assert ({"7d1a": 5e9}, {"99ff": (1.0, 5e9)}) == (found.refused, found.suspected)


def test_a_request_that_comes_before_the_replicas_are_known_waits(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> list[Dispatch | Refuse]:
        Takeover(daemon.parts, Claim(Lock(tmp_path / "lock", -1))).expect()
        holder = Holder()
        daemon.parts.dispatcher.enter(Ticket(1, Ask("m")), holder)
        await asyncio.sleep(0)
        daemon.parts.dispatcher.leave(Ticket(1, Ask("m")))
        return holder.answers

    assert [] == with_parts(desired(tmp_path, MODEL), story)


def test_what_this_plan_does_not_have_is_ignored(tmp_path: Path) -> None:
    known = {"gone#0@attic": Snapshot("any", State.FATAL), "gone#1": Snapshot("any", State.COLD)}

    states, _ = taken_over(tmp_path, HandoverState(replicas=known))

    assert {"m#0", "m#1", "other#0"} == states.keys()

"""Replicas without a process go over as they are: stopped, cold, or waiting for their next start."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest

from relayd.daemon.events import NO_ROOM
from relayd.daemon.inventory import handover_state
from relayd.daemon.report import NoArguments, StopArguments
from relayd.daemon.takeover import Claim, Takeover
from relayd.endpoint import Endpoint
from relayd.errors import RequestError
from relayd.handover import HandoverState, PendingRestart
from relayd.lock import Lock
from relayd.scheduler import Ask, Dispatch, Refusal, Refuse, Ticket
from relayd.supervisor.causes import Cause, Exit
from relayd.supervisor.status import Backoff
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
        report = await daemon.operations.status(NoArguments())
        refusals = {}
        for model in report.models:
            ticket, holder = Ticket(daemon.parts.dispatcher.next_id(), Ask(model.name)), Holder()
            daemon.parts.dispatcher.enter(ticket, holder)
            (refusal,) = holder.answers
            assert isinstance(refusal, Refuse)
            refusals[model.name] = refusal
        return {one.name: one.state for model in report.models for one in model.replicas}, refusals

    return with_parts(desired(home, MODEL, OTHER), story)


def test_stopped_and_cold_are_told_apart(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> HandoverState:
        await daemon.operations.stop(StopArguments("m"))
        daemon.parts.fleet.unload("other#0", REASON)
        return handover_state(daemon.parts)

    state = with_parts(desired(tmp_path, MODEL, OTHER), story)

    assert (frozenset({"m#0", "m#1"}), {"other#0": REASON}) == (state.stopped, state.cold)


def test_a_successor_refuses_what_is_stopped_and_what_is_cold_without_naming_others(tmp_path: Path) -> None:
    state = HandoverState(stopped=frozenset({"m#0", "m#1"}), cold={"other#0": REASON})
    states, refusals = taken_over(tmp_path, state)

    assert {"m#0": "stopped", "m#1": "stopped", "other#0": "cold"} == states
    assert (Refusal.UNAVAILABLE, Refusal.NOT_LOADED) == (refusals["m"].refusal, refusals["other"].refusal)
    assert "m#0 is stopped" in refusals["m"].reason
    assert NO_ROOM == refusals["other"].reason


def test_a_replica_that_waits_for_its_next_start_goes_on_waiting(tmp_path: Path) -> None:
    backoff = Backoff(
        LATER, failures=4, incarnation=7, restarts=6, last_exit=CRASH, last_exit_at=LATER - 7200
    )

    async def leave(daemon: Assembled) -> HandoverState:
        daemon.parts.fleet.resume({"m#0": backoff})
        return handover_state(daemon.parts)

    async def take(daemon: Assembled) -> HandoverState:
        await Takeover(daemon.parts, Claim(Lock(tmp_path / "lock", -1), state=state)).run()
        return handover_state(daemon.parts)

    state = with_parts(desired(tmp_path, MODEL), leave)
    assert ("crash", -11, 4) == (
        state.pending["m#0"].cause, state.pending["m#0"].code, state.pending["m#0"].failures
    )  # fmt: skip
    after = with_parts(desired(tmp_path, MODEL), take).pending["m#0"]
    assert LATER == pytest.approx(after.retry_at, abs=60)
    assert state.pending["m#0"] == replace(after, retry_at=state.pending["m#0"].retry_at)


def test_what_this_plan_does_not_have_is_ignored(tmp_path: Path) -> None:
    pending = {"gone#0@attic": PendingRestart(LATER, cause="a cause of a later build")}
    state = HandoverState(stopped=frozenset({"gone#1"}), cold={"gone#2": REASON}, pending=pending)

    states, _ = taken_over(tmp_path, state)

    assert {"m#0": "fatal", "m#1": "fatal", "other#0": "fatal"} == states


def test_a_cause_of_a_later_build_is_kept_as_vanished(tmp_path: Path) -> None:
    state = HandoverState(pending={"m#0": PendingRestart(LATER, cause="abducted", message="it was abducted")})

    async def story(daemon: Assembled) -> Exit | None:
        await Takeover(daemon.parts, Claim(Lock(tmp_path / "lock", -1), state=state)).run()
        return daemon.parts.fleet.statuses()[0].last_exit

    assert Exit(Cause.VANISHED, None, "it was abducted") == with_parts(desired(tmp_path, MODEL), story)

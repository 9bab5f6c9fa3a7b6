"""What happens to replicas becomes lines for people: each thing once, nothing twice."""

from pathlib import Path
from typing import Any

import pytest

from relayd.daemon.notices import Narrator
from relayd.planner import Planned, ReplicaSpec
from relayd.supervisor import State, Status
from relayd.supervisor.causes import Cause, Exit

pytestmark = pytest.mark.pure

CRASH = Exit(Cause.CRASH, -11, "it crashed: signal 11 (SIGSEGV)", "See its log.")


def status(state: State, since: float = 0.0, name: str = "m", **facts: Any) -> Status:
    planned = Planned(ReplicaSpec(name, 0, Path("/m.gguf")))
    facts = {"pid": None, "reduced": (), "last_exit": None, "last_exit_at": None, "retry_at": None} | facts
    return Status(
        planned=planned, state=state, since=since, incarnation=1, address=None, restarts=0, budget_left=5,
        last_words=(), health_fault=None, log=None, command=(), **facts,
    )  # fmt: skip


def told(*looks: Status) -> list[list[str]]:
    narrator = Narrator()
    return [[notice.text for notice in narrator.take([one])] for one in looks]


def test_a_start_is_told_with_its_seconds_once() -> None:
    assert [[], [], ["m#0 is ready after 12 s"], []] == told(
        status(State.WAITING, 1.0),
        status(State.LOADING, 3.0),
        status(State.READY, 13.0),
        status(State.READY, 13.0),
    )
    assert [["m#0 is ready"]] == told(status(State.READY, 13.0))


def test_a_crash_is_told_with_the_next_try() -> None:
    crashed: dict[str, Any] = {"last_exit": CRASH, "last_exit_at": 20.0}

    assert [
        ["m#0 is ready"],
        [],
        ["m#0 has ended: it crashed: signal 11 (SIGSEGV); it is started again in 5.0 s"],
        [],
        ["m#0 is ready after 2.0 s"],
    ] == told(
        status(State.READY, 13.0, pid=1),
        status(State.EXITED, 20.0, **crashed),
        status(State.BACKOFF, 20.0, retry_at=25.0, **crashed),
        status(State.LOADING, 25.0, pid=2, **crashed),
        status(State.READY, 27.0, pid=2, **crashed),
    )


def test_a_crash_that_was_the_last_is_told_with_the_remedy() -> None:
    ended = status(State.FATAL, 20.0, last_exit=CRASH, last_exit_at=20.0)

    assert [
        [],
        ["m#0 has failed and stays down: it crashed: signal 11 (SIGSEGV). See its log"],
    ] == told(status(State.LOADING, 13.0, pid=1), ended)


def test_a_commanded_end_is_no_crash() -> None:
    commanded = Exit(Cause.COMMANDED, 0, "it was stopped")
    stopped = status(State.STOPPED, 20.0, last_exit=commanded, last_exit_at=20.0)

    assert [["m#0 is ready"], ["m#0 is stopped"]] == told(status(State.READY, 1.0, pid=1), stopped)


def test_a_reduction_an_eviction_and_silence_are_told() -> None:
    smaller: dict[str, Any] = {"reduced": ("slots: 4 → 2",), "pid": 2}

    assert [
        ["m#0 is made smaller to fit: slots: 4 → 2"],
        ["m#0 is ready after 4.0 s"],
        ["m#0 does not answer; no new request goes there"],
        ["m#0 is ready"],
        ["m#0 has left memory: is unloaded, other needs its place"],
    ] == told(
        status(State.LOADING, 1.0, **smaller),
        status(State.READY, 5.0, **smaller),
        status(State.UNHEALTHY, 9.0, **smaller),
        status(State.READY, 9.5, **smaller),
        status(State.COLD, 20.0, reduced=("slots: 4 → 2",), reason="m#0 is unloaded, other needs its place"),
    )


def test_what_was_so_from_the_beginning_is_not_told() -> None:
    ended: dict[str, Any] = {"last_exit": CRASH, "last_exit_at": 2.0}

    assert [[]] == told(status(State.COLD, 0.0, reason="m#0 has not been loaded yet"))
    assert [[]] == told(status(State.STOPPED, 0.0))
    assert [[]] == told(status(State.FATAL, 3.0, **ended))


def test_replicas_that_are_gone_are_forgotten() -> None:
    narrator = Narrator()
    narrator.take([status(State.READY, 1.0), status(State.READY, 1.0, name="n")])
    narrator.take([status(State.READY, 1.0)])

    assert "<Narrator of 1 replicas>" == repr(narrator)

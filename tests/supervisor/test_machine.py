"""Does whoever waits for a state learn of it, however briefly it holds?"""

import asyncio

import pytest

from relayd.errors import DaemonError
from relayd.supervisor.machine import StateMachine
from relayd.supervisor.state import Event, State

pytestmark = pytest.mark.pure


def nothing(_event: Event, _before: State, _after: State) -> None:
    return None


async def test_a_state_that_is_left_at_once_is_not_missed() -> None:
    machine = StateMachine(nothing)
    machine.handle(Event.START)
    waiting = asyncio.ensure_future(machine.reached(State.COLD, State.STOPPED))
    await asyncio.sleep(0)

    machine.handle(Event.UNLOAD)
    machine.handle(Event.LOAD)

    assert State.COLD is await waiting
    assert State.WAITING is machine.position.state


async def test_who_waits_for_a_replica_is_told_that_another_daemon_took_over() -> None:
    machine = StateMachine(nothing)
    waiting = asyncio.ensure_future(machine.reached(State.READY))
    await asyncio.sleep(0)

    machine.release()

    for late in (waiting, machine.reached(State.READY)):
        with pytest.raises(DaemonError, match="taken over"):
            await late

"""The table of a replica's life."""

from collections.abc import Iterator

import pytest

from relayd.supervisor.state import (
    ALIVE,
    COMING_UP,
    DOWN,
    GOALS,
    SETTLED,
    TRANSITIONS,
    Event,
    Goal,
    Position,
    State,
    after,
    diagram,
    knows,
)

pytestmark = pytest.mark.pure

WITH_PROCESS = [State.STARTING, State.LOADING, State.READY, State.UNHEALTHY]


def positions() -> Iterator[Position]:
    return (Position(state, goal) for state in State for goal in Goal)


def walk(*events: Event, start: Position | None = None) -> Position:
    position = start or Position()
    for event in events:
        position = after(position, event)
    return position


def test_a_replica_begins_cold_and_nobody_wants_it_loaded() -> None:
    assert Position(State.COLD, Goal.COLD) == Position()


def test_a_start_asks_for_memory_before_it_starts_a_process() -> None:
    assert Position(State.WAITING, Goal.LOADED) == walk(Event.LOAD)
    assert Position(State.READY, Goal.LOADED) == walk(
        Event.LOAD, Event.GRANTED, Event.ANSWERED_LOADING, Event.ANSWERED_READY
    )


def test_a_replica_that_is_unloaded_is_cold_and_comes_back_by_a_load() -> None:
    cold = walk(Event.UNLOAD, Event.IDLE, Event.REAPED, start=Position(State.READY, Goal.LOADED))

    assert Position(State.COLD, Goal.COLD) == cold
    assert Position(State.WAITING, Goal.LOADED) == after(cold, Event.LOAD)


def test_a_replica_that_an_operator_stopped_comes_back_by_an_operator_alone() -> None:
    stopped = walk(Event.STOP, Event.IDLE, Event.REAPED, start=Position(State.READY, Goal.LOADED))

    assert Position(State.STOPPED, Goal.STOPPED) == stopped
    assert {Event.START, Event.RESTART} == set(TRANSITIONS[State.STOPPED])


def test_an_unload_makes_nothing_of_an_operators_stop() -> None:
    stopping = walk(Event.STOP, start=Position(State.READY, Goal.LOADED))

    assert not knows(stopping, Event.UNLOAD)
    assert not knows(stopping, Event.LOAD)


def test_a_load_while_it_unloads_brings_it_back_when_the_process_is_gone() -> None:
    assert Position(State.WAITING, Goal.LOADED) == walk(
        Event.UNLOAD, Event.IDLE, Event.LOAD, Event.REAPED, start=Position(State.READY, Goal.LOADED)
    )


def test_a_restart_drains_and_asks_for_memory_again() -> None:
    assert Position(State.WAITING, Goal.LOADED) == walk(
        Event.RESTART, Event.IDLE, Event.REAPED, start=Position(State.READY, Goal.LOADED)
    )


@pytest.mark.parametrize(
    ("event", "state", "goal"),
    [
        (Event.WORTH_A_RETRY, State.BACKOFF, Goal.LOADED),
        (Event.NO_RETRY_HELPS, State.FATAL, Goal.LOADED),
        (Event.LOAD_FAILED, State.COLD, Goal.COLD),
    ],
)
@pytest.mark.parametrize("state_before", WITH_PROCESS)
def test_a_process_that_ends_by_itself_is_examined_before_anything_is_decided(
    state_before: State, event: Event, state: State, goal: Goal
) -> None:
    exited = after(Position(state_before, Goal.LOADED), Event.EXITED)

    assert Position(State.EXITED, Goal.LOADED) == exited
    assert Position(state, goal) == after(exited, event)


def test_a_stop_during_the_examination_ends_where_a_stop_ends() -> None:
    assert Position(State.STOPPED, Goal.STOPPED) == walk(
        Event.EXITED, Event.STOP, Event.REAPED, start=Position(State.READY, Goal.LOADED)
    )


@pytest.mark.parametrize("state", [State.DRAINING, State.STOPPING])
@pytest.mark.parametrize(
    ("goal", "end"),
    [(Goal.LOADED, State.WAITING), (Goal.COLD, State.COLD), (Goal.STOPPED, State.STOPPED)],
)
def test_a_commanded_exit_is_never_a_failure(state: State, goal: Goal, end: State) -> None:
    assert Position(end, goal) == walk(Event.EXITED, Event.REAPED, start=Position(state, goal))


def test_an_ask_for_memory_can_be_taken_back() -> None:
    waiting = Position(State.WAITING, Goal.LOADED)

    assert State.STOPPED is after(waiting, Event.STOP).state
    assert State.COLD is after(waiting, Event.UNLOAD).state


def test_a_retry_asks_for_memory_too() -> None:
    assert State.WAITING is after(Position(State.BACKOFF, Goal.LOADED), Event.RETRY_DUE).state


def test_an_event_that_a_position_does_not_know_raises_and_names_both() -> None:
    with pytest.raises(ValueError, match="is stopped and is to be stopped cannot take the event 'granted'"):
        after(Position(State.STOPPED, Goal.STOPPED), Event.GRANTED)


def test_only_commands_change_the_goal() -> None:
    for position in positions():
        for event in Event:
            if knows(position, event):
                assert GOALS.get(event, position.goal) is after(position, event).goal


def test_a_replica_that_is_brought_down_ends_where_its_goal_says() -> None:
    """Whatever the order of commands and facts: STOPPED and COLD are never confused."""
    for position in positions():
        for event in Event:
            if not knows(position, event):
                continue
            found = after(position, event)
            if found.state is State.STOPPED:
                assert Goal.STOPPED is found.goal
            if found.state is State.COLD:
                assert Goal.COLD is found.goal


def test_only_a_probe_makes_a_replica_ready() -> None:
    ways = {event for row in TRANSITIONS.values() for event, target in row.items() if target is State.READY}

    assert {Event.ANSWERED_READY} == ways


def test_only_a_grant_starts_a_process() -> None:
    ways = {
        event for row in TRANSITIONS.values() for event, target in row.items() if target is State.STARTING
    }

    assert {Event.GRANTED} == ways


def test_fatal_is_left_only_by_an_operator() -> None:
    assert {Event.START, Event.RESTART, Event.STOP, Event.STOP_NOW} == set(TRANSITIONS[State.FATAL])


def test_every_state_has_a_row_and_can_be_left_and_reached() -> None:
    reached = {
        after(position, event).state
        for position in positions()
        for event in Event
        if knows(position, event) and after(position, event).state is not position.state
    }

    assert set(State) == reached == set(TRANSITIONS)
    assert all(TRANSITIONS.values())


def test_the_sets_of_states_leave_nothing_out() -> None:
    assert set(State) == ALIVE | DOWN | {State.WAITING, State.EXITED, State.BACKOFF}
    assert not COMING_UP & SETTLED


def test_the_diagram_draws_every_pair_that_changes_the_state() -> None:
    text = diagram().splitlines()

    for position in positions():
        for event in Event:
            if not knows(position, event):
                continue
            found = after(position, event)
            edge = f"    {position.state.value} --> {found.state.value}: "
            drawn = [line for line in text if line.startswith(edge) and event.value in line]
            assert (found.state is not position.state) == bool(drawn), (position, event)

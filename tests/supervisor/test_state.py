"""The table of a replica's life."""

import pytest

from relayd.supervisor.state import TRANSITIONS, Event, State, after, diagram, knows

pytestmark = pytest.mark.pure


def test_every_state_has_a_row() -> None:
    assert set(State) == set(TRANSITIONS)


def test_an_unknown_pair_raises_and_every_known_pair_follows_the_table() -> None:
    for state in State:
        for event in Event:
            if knows(state, event):
                assert TRANSITIONS[state][event] == after(state, event)
            else:
                with pytest.raises(ValueError, match=state.value):
                    after(state, event)


def test_only_a_probe_makes_a_replica_ready() -> None:
    ways = {event for row in TRANSITIONS.values() for event, target in row.items() if target is State.READY}

    assert {Event.ANSWERED_READY} == ways


def test_every_state_with_a_process_knows_what_its_exit_means() -> None:
    for state in (State.STARTING, State.LOADING, State.READY, State.UNHEALTHY):
        assert knows(state, Event.EXITED_TO_RETRY)
        assert knows(state, Event.EXITED_FOR_GOOD)
    for state in (State.DRAINING, State.STOPPING):
        assert knows(state, Event.EXITED_TO_STOP)
        assert knows(state, Event.EXITED_TO_START)


def test_a_commanded_exit_is_never_a_failure() -> None:
    for state in (State.DRAINING, State.STOPPING):
        assert {State.STOPPING, State.STOPPED, State.STARTING} >= set(TRANSITIONS[state].values())


def test_fatal_is_left_only_by_an_operator() -> None:
    assert {Event.START, Event.STOP} == set(TRANSITIONS[State.FATAL])


def test_every_state_can_be_left_and_reached() -> None:
    reached = {target for row in TRANSITIONS.values() for target in row.values()}

    assert set(State) == reached
    assert all(TRANSITIONS.values())


def test_the_diagram_draws_every_pair() -> None:
    text = diagram()

    for state, row in TRANSITIONS.items():
        for event, target in row.items():
            edge = next(line for line in text.splitlines() if f"{state.value} --> {target.value}:" in line)
            assert event.value in edge

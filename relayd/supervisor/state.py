"""The state machine of a replica: where it stands, where it is to end, and what each event makes of it.

A position is both: where the replica stands, and where it is to end. An event is a command, which may change
the goal, or a fact, which does not; where both a fact and the goal decide the next state, the table has a row
for each goal. Everything that decides a transition is in this file, and it does nothing else: an event that a
position does not know raises and changes nothing.

Three states have no process and mean three things: STOPPED by an operator, who alone brings it back; COLD,
wanted but not in memory, which a request or the memory ledger brings back; FATAL, given up. WAITING has
asked for its memory; EXITED has lost its process, whose end is being examined.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Where a replica stands; only READY gets requests."""

    COLD = "cold"
    WAITING = "waiting"
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    STOPPING = "stopping"
    EXITED = "exited"
    BACKOFF = "backoff"
    STOPPED = "stopped"
    FATAL = "fatal"


class Goal(Enum):
    """What a replica is to be when nothing is under way any more."""

    LOADED = "loaded"
    COLD = "cold"
    STOPPED = "stopped"


class Event(Enum):
    """What can happen to a replica: commands first, then facts."""

    LOAD = "load"
    UNLOAD = "unload"
    START = "start"
    RESTART = "restart"
    STOP = "stop"
    STOP_NOW = "stop now"
    ADOPT = "adopt"
    RESUME = "resume"
    RESUME_GIVEN_UP = "resume, given up"
    GRANTED = "granted"
    ANSWERED_LOADING = "answered: loading"
    ANSWERED_READY = "answered: ready"
    PROBE_FAILED = "probe failed"
    IDLE = "idle"
    EXITED = "exited"
    REAPED = "reaped"
    WORTH_A_RETRY = "worth a retry"
    NO_RETRY_HELPS = "no retry helps"
    LOAD_FAILED = "load on demand failed"
    RETRY_DUE = "retry due"


GOALS: Mapping[Event, Goal] = {
    Event.LOAD: Goal.LOADED,
    Event.START: Goal.LOADED,
    Event.RESTART: Goal.LOADED,
    Event.ADOPT: Goal.LOADED,
    Event.RESUME: Goal.LOADED,
    Event.RESUME_GIVEN_UP: Goal.LOADED,
    Event.UNLOAD: Goal.COLD,
    Event.LOAD_FAILED: Goal.COLD,
    Event.STOP: Goal.STOPPED,
    Event.STOP_NOW: Goal.STOPPED,
}
"""What a command makes the goal; facts leave it as it is, but for a load that a later request may repeat."""

Target = State | Mapping[Goal, State]
"""The next state, or the next one for each goal; a goal that is not listed does not know the event."""


def _brought_down(polite: State) -> dict[Event, Target]:
    """Return what the commands that end a process do, where it may first finish what it works on."""
    return {
        Event.UNLOAD: polite,
        Event.RESTART: polite,
        Event.STOP: polite,
        Event.STOP_NOW: State.STOPPING,
    }


_WITHOUT_PROCESS: dict[Event, Target] = {Event.STOP: State.STOPPED, Event.STOP_NOW: State.STOPPED}

_TRIED_AGAIN: dict[Event, Target] = {
    Event.WORTH_A_RETRY: State.BACKOFF,
    Event.NO_RETRY_HELPS: State.FATAL,
    Event.LOAD_FAILED: State.COLD,
}


def _another_goal(state: State) -> dict[Event, Target]:
    """Return the commands that change what follows on a way down: not an operator's stop into less."""
    return {
        Event.LOAD: {Goal.COLD: state},
        Event.UNLOAD: {Goal.LOADED: state},
        Event.START: state,
        Event.RESTART: state,
        Event.STOP: state,
    }


TRANSITIONS: Mapping[State, Mapping[Event, Target]] = {
    State.COLD: {
        Event.LOAD: State.WAITING,
        Event.START: State.WAITING,
        Event.RESTART: State.WAITING,
        Event.UNLOAD: State.COLD,
        Event.ADOPT: State.LOADING,
        Event.RESUME: State.BACKOFF,
        Event.RESUME_GIVEN_UP: State.FATAL,
        **_WITHOUT_PROCESS,
    },
    State.WAITING: {
        Event.GRANTED: State.STARTING,
        Event.RESTART: State.WAITING,
        Event.UNLOAD: State.COLD,
        **_WITHOUT_PROCESS,
    },
    State.STARTING: {
        Event.ANSWERED_LOADING: State.LOADING,
        Event.ANSWERED_READY: State.READY,
        Event.EXITED: State.EXITED,
        **_TRIED_AGAIN,
        **_brought_down(State.STOPPING),
    },
    State.LOADING: {
        Event.ANSWERED_READY: State.READY,
        Event.EXITED: State.EXITED,
        **_brought_down(State.STOPPING),
    },
    State.READY: {
        Event.PROBE_FAILED: State.UNHEALTHY,
        Event.EXITED: State.EXITED,
        **_brought_down(State.DRAINING),
    },
    State.UNHEALTHY: {
        Event.ANSWERED_READY: State.READY,
        Event.EXITED: State.EXITED,
        **_brought_down(State.DRAINING),
    },
    State.DRAINING: {
        Event.IDLE: State.STOPPING,
        Event.EXITED: State.STOPPING,
        Event.STOP_NOW: State.STOPPING,
        **_another_goal(State.DRAINING),
    },
    State.STOPPING: {
        Event.EXITED: State.STOPPING,
        Event.REAPED: {
            Goal.LOADED: State.WAITING,
            Goal.COLD: State.COLD,
            Goal.STOPPED: State.STOPPED,
        },
        Event.STOP_NOW: State.STOPPING,
        **_another_goal(State.STOPPING),
    },
    State.EXITED: {**_TRIED_AGAIN, **_brought_down(State.STOPPING)},
    State.BACKOFF: {
        Event.RETRY_DUE: State.WAITING,
        Event.START: State.WAITING,
        Event.RESTART: State.WAITING,
        Event.UNLOAD: State.COLD,
        **_WITHOUT_PROCESS,
    },
    State.STOPPED: {Event.START: State.WAITING, Event.RESTART: State.WAITING},
    State.FATAL: {Event.START: State.WAITING, Event.RESTART: State.WAITING, **_WITHOUT_PROCESS},
}

ALIVE = frozenset(
    {State.STARTING, State.LOADING, State.READY, State.UNHEALTHY, State.DRAINING, State.STOPPING}
)
"""States with a process."""

COMING_UP = frozenset({State.WAITING, State.STARTING, State.LOADING})
"""States of a start that is under way."""

SETTLED = frozenset({State.READY, State.FATAL, State.STOPPED, State.COLD})
"""States in which a start, restart or reload has come to its end, as far as a command waits for it."""

DOWN = frozenset({State.STOPPED, State.COLD, State.FATAL})
"""States without a process, in which none comes by itself."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a replica stands, and where it is to end."""

    state: State = State.COLD
    goal: Goal = Goal.COLD


def after(position: Position, event: Event) -> Position:
    """Return the position that follows.

    Raises:
        ValueError: The position does not know the event: a fault of the caller.
    """
    target = _target(position, event)
    if target is None:
        raise ValueError(
            f"a replica that is {position.state.value} and is to be {position.goal.value} "
            f"cannot take the event {event.value!r}"
        )
    return Position(target, GOALS.get(event, position.goal))


def knows(position: Position, event: Event) -> bool:
    """Return whether an event means something in a position."""
    return _target(position, event) is not None


def _target(position: Position, event: Event) -> State | None:
    target = TRANSITIONS[position.state].get(event)
    return target.get(position.goal) if isinstance(target, Mapping) else target


def diagram() -> str:
    """Return the table as a Mermaid state diagram, without what only changes the goal."""
    edges: dict[tuple[State, State], list[str]] = {}
    for source, target, label in _edges():
        if source is not target:
            edges.setdefault((source, target), []).append(label)
    lines = [f"    {a.value} --> {b.value}: {' / '.join(labels)}" for (a, b), labels in edges.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> cold", *lines])


def _edges() -> Iterator[tuple[State, State, str]]:
    for source, row in TRANSITIONS.items():
        for event, target in row.items():
            if isinstance(target, Mapping):
                for goal, state in target.items():
                    yield source, state, f"{event.value}, to be {goal.value}"
            else:
                yield source, target, event.value

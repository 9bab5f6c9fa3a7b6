"""In which state is a replica, and where may it go from there?

Everything that decides a replica's state is in this file, and it does nothing else: an
event that a state does not know raises and changes nothing.
"""

from enum import Enum


class State(Enum):
    """Where a replica stands; only READY gets requests."""

    STOPPED = "stopped"
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    FATAL = "fatal"


class Event(Enum):
    """What can happen to a replica."""

    START = "start"
    ADOPT = "adopt"
    ANSWERED_LOADING = "answered: loading"
    ANSWERED_READY = "answered: ready"
    PROBE_FAILED = "probe failed"
    DRAIN = "drain"
    IDLE = "idle"
    STOP = "stop"
    EXITED_TO_STOP = "exited, as wanted"
    EXITED_TO_START = "exited, to start again"
    EXITED_TO_RETRY = "exited, worth a retry"
    EXITED_FOR_GOOD = "exited, no retry helps"
    RETRY_DUE = "retry due"


class Intent(Enum):
    """What shall be after a replica has stopped."""

    STOP = "stop"
    RESTART = "restart"


_EXITED_ON_ITS_OWN = {Event.EXITED_TO_RETRY: State.BACKOFF, Event.EXITED_FOR_GOOD: State.FATAL}
_EXITED_ON_COMMAND = {Event.EXITED_TO_STOP: State.STOPPED, Event.EXITED_TO_START: State.STARTING}

TRANSITIONS: dict[State, dict[Event, State]] = {
    State.STOPPED: {Event.START: State.STARTING, Event.ADOPT: State.LOADING},
    State.STARTING: {
        Event.ANSWERED_LOADING: State.LOADING,
        Event.ANSWERED_READY: State.READY,
        Event.STOP: State.STOPPING,
        **_EXITED_ON_ITS_OWN,
    },
    State.LOADING: {Event.ANSWERED_READY: State.READY, Event.STOP: State.STOPPING, **_EXITED_ON_ITS_OWN},
    State.READY: {
        Event.PROBE_FAILED: State.UNHEALTHY,
        Event.DRAIN: State.DRAINING,
        Event.STOP: State.STOPPING,
        **_EXITED_ON_ITS_OWN,
    },
    State.UNHEALTHY: {
        Event.ANSWERED_READY: State.READY,
        Event.DRAIN: State.DRAINING,
        Event.STOP: State.STOPPING,
        **_EXITED_ON_ITS_OWN,
    },
    State.DRAINING: {Event.IDLE: State.STOPPING, Event.STOP: State.STOPPING, **_EXITED_ON_COMMAND},
    State.STOPPING: {Event.STOP: State.STOPPING, **_EXITED_ON_COMMAND},
    State.BACKOFF: {Event.RETRY_DUE: State.STARTING, Event.START: State.STARTING, Event.STOP: State.STOPPED},
    State.FATAL: {Event.START: State.STARTING, Event.STOP: State.STOPPED},
}

ALIVE = frozenset(
    {State.STARTING, State.LOADING, State.READY, State.UNHEALTHY, State.DRAINING, State.STOPPING}
)
"""States with a process."""

COMING_UP = frozenset({State.STARTING, State.LOADING})
"""States of a start that is under way."""

SETTLED = frozenset({State.READY, State.FATAL, State.STOPPED})
"""States in which a start, restart or reload has come to its end, as far as a command waits for it."""


def after(state: State, event: Event) -> State:
    """Return the state that follows.

    Raises:
        ValueError: The state does not know the event: a fault of the caller.
    """
    if not knows(state, event):
        raise ValueError(f"a replica that is {state.value} cannot take the event {event.value!r}")
    return TRANSITIONS[state][event]


def knows(state: State, event: Event) -> bool:
    """Return whether an event means something in a state."""
    return event in TRANSITIONS[state]


def diagram() -> str:
    """Return the table as a Mermaid state diagram, for the README."""
    edges: dict[tuple[State, State], list[str]] = {}
    for source, row in TRANSITIONS.items():
        for event, target in row.items():
            edges.setdefault((source, target), []).append(event.value)
    lines = [f"    {a.value} --> {b.value}: {' / '.join(events)}" for (a, b), events in edges.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> stopped", *lines])

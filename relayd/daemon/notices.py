"""What has happened to replicas between two looks, as lines for people."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relayd.supervisor import State, Status
from relayd.supervisor.causes import Cause
from relayd.supervisor.state import COMING_UP
from relayd.units import show_seconds

SHOWN_SECONDS = 1.0
"""A start that took less needs no figure."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that has happened to a replica.

    Attributes:
        replica: `MODEL#N`.
        state: Its state now.
        text: What happened, as a sentence without a full stop.
        alarming: Whether an operator should look at it.
    """

    replica: str
    state: State
    text: str
    alarming: bool = False


class Narrator:
    """Compares what replicas are with what they were."""

    def __init__(self) -> None:
        self._before: dict[str, Status] = {}
        self._began: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Narrator of {len(self._before)} replicas>"

    def take(self, statuses: Sequence[Status]) -> list[Notice]:
        """Return what has happened since the last call; how an end is judged is waited for."""
        found = [notice for one in statuses for notice in self._of(one)]
        judged = {one.spec.name: one for one in statuses if one.state is not State.EXITED}
        names = {one.spec.name for one in statuses}
        self._before = {name: one for name, one in (self._before | judged).items() if name in names}
        return found

    def _of(self, one: Status) -> Iterator[Notice]:
        name, was = one.spec.name, self._before.get(one.spec.name)
        if one.state in COMING_UP:
            self._began.setdefault(name, one.since)
        if one.state is State.EXITED:
            return
        if _has_ended(one, was):
            yield Notice(name, one.state, _end(one), alarming=True)
        if one.reduced and one.reduced != (was.reduced if was else ()):
            yield Notice(name, one.state, f"{name} is made smaller to fit: {'; '.join(one.reduced)}", True)
        if was is None or was.state is not one.state:
            yield from self._arrived(one, was)

    def _arrived(self, one: Status, was: Status | None) -> Iterator[Notice]:
        """Yield what it means that a replica has come into its state."""
        name = one.spec.name
        began = self._began.pop(name, None) if one.state not in COMING_UP else None
        match one.state:
            case State.READY:
                took = one.since - began if began is not None else 0.0
                after = f" after {show_seconds(took)}" if took >= SHOWN_SECONDS else ""
                yield Notice(name, one.state, f"{name} is ready{after}")
            case State.UNHEALTHY:
                yield Notice(name, one.state, f"{name} does not answer; no new request goes there", True)
            case State.STOPPED if was:
                yield Notice(name, one.state, f"{name} is stopped")
            case State.COLD if was and was.pid and not one.has_failed:
                why = one.reason.removeprefix(f"{name} ")
                yield Notice(name, one.state, f"{name} has left memory{f': {why}' if why else ''}")


def _has_ended(one: Status, was: Status | None) -> bool:
    """Return whether a process of it has ended by itself since the last look."""
    if one.last_exit is None or one.last_exit.cause is Cause.COMMANDED or was is None:
        return False
    return one.last_exit_at != was.last_exit_at


def _end(one: Status) -> str:
    name, last = one.spec.name, one.last_exit
    message = last.message if last else "it has ended"
    if one.state is State.FATAL:
        sentences = (message, last.remedy.rstrip(".") if last else "")
        return f"{name} has failed and stays down: {'. '.join(filter(None, sentences))}"
    if one.retry_at is not None and (wait := one.retry_at - one.since) >= SHOWN_SECONDS:
        return f"{name} has ended: {message}; it is started again in {show_seconds(wait)}"
    again = "a request starts it again" if one.state is State.COLD else "it is started again"
    return f"{name} has ended: {message}; {again}"

"""What there is to know about a replica, what has happened to it, and by which intervals it is kept."""

from dataclasses import dataclass
from pathlib import Path

from relayd.config.schema import Probe, Replicas, Restart
from relayd.planner import Planned, ReplicaSpec
from relayd.supervisor.causes import Exit
from relayd.supervisor.child import Child
from relayd.supervisor.state import State


@dataclass(frozen=True, slots=True)
class Settings:
    """Every interval the supervisor keeps."""

    replicas: Replicas
    restart: Restart
    probe: Probe


@dataclass(frozen=True, slots=True)
class Status:
    """A replica at one moment, for people and programs; times are wall-clock seconds.

    Attributes:
        planned: What runs, or would; smaller than what is wanted where memory did not hold that.
        last_words: What the engine wrote last before it ended on its own.
        reduced: The steps that were taken down to fit into memory.
        reason: Why it is not in memory; empty unless it is cold.
        failures: Unexpected exits in a row.
        health_fault: What went wrong in relayd itself when it last failed to look at this incarnation.
    """

    planned: Planned
    state: State
    since: float
    pid: int | None
    incarnation: int
    address: str | None
    restarts: int
    budget_left: int
    reduced: tuple[str, ...]
    last_exit: Exit | None
    last_exit_at: float | None
    last_words: tuple[str, ...]
    retry_at: float | None
    health_fault: str | None
    log: Path | None
    command: tuple[str, ...]
    reason: str = ""
    failures: int = 0

    @property
    def spec(self) -> ReplicaSpec:
        """What runs, or would."""
        return self.planned.spec


@dataclass(frozen=True, slots=True)
class Backoff:
    """A replica that waits for its next start, for a daemon that takes over; times are wall-clock seconds.

    Attributes:
        retry_at: When the next start is due.
        failures: Exits in a row.
        incarnation: How many times it was started.
        restarts: How many times it came back by itself.
        last_exit: How it ended last.
        last_exit_at: When that was.
    """

    retry_at: float
    failures: int
    incarnation: int
    restarts: int
    last_exit: Exit | None = None
    last_exit_at: float | None = None


@dataclass(slots=True)
class History:
    """What has happened to a replica; times are wall-clock seconds.

    Attributes:
        since: When it came into its present state.
        incarnation: How many times it was started, over all daemons.
        restarts: How many times it came back by itself.
        retry_delay_seconds: How long the next try waits.
        retry_at: When it is due.
        reason: Why it is not in memory.
    """

    since: float
    incarnation: int = 0
    restarts: int = 0
    retry_delay_seconds: float = 0.0
    retry_at: float | None = None
    reason: str = ""
    last_exit: Exit | None = None
    last_exit_at: float | None = None
    last_words: tuple[str, ...] = ()
    log: Path | None = None
    command: tuple[str, ...] = ()

    def attended(self, child: Child) -> None:
        """Take note of a process that is looked after now."""
        self.incarnation = child.endpoint.incarnation
        self.log, self.command = child.log, child.command

    def resume(self, backoff: Backoff, now: float) -> None:
        """Go on with what another daemon knows of a replica that waits for its next start."""
        self.incarnation, self.restarts = backoff.incarnation, backoff.restarts
        self.last_exit, self.last_exit_at = backoff.last_exit, backoff.last_exit_at
        self.retry_delay_seconds = max(0.0, backoff.retry_at - now)

    def why(self, name: str, state: State) -> str:
        """Return why a replica without a process takes no requests, for clients that ask for it."""
        if state is State.COLD:
            return self.reason or f"{name} has not been loaded yet"
        if state is State.FATAL and self.last_exit:
            sentences = (self.last_exit.message, self.last_exit.remedy.rstrip("."))
            return f"{name} gave up: {'. '.join(filter(None, sentences))}"
        return f"{name} is stopped"

    def ended(self, exit_: Exit, last_words: tuple[str, ...], at: float) -> None:
        """Take note of the end of an incarnation."""
        self.last_exit, self.last_exit_at = exit_, at
        if last_words:
            self.last_words = last_words

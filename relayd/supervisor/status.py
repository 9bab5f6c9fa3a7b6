"""What there is to know about a replica, what has happened to it, and by which intervals it is kept."""

from dataclasses import dataclass
from pathlib import Path

from relayd.config.schema import Probe, Replicas, Restart
from relayd.planner import Planned, ReplicaSpec
from relayd.planner.wall import MemoryWall
from relayd.supervisor.causes import Exit
from relayd.supervisor.child import Child
from relayd.supervisor.restarts import AT_ONCE, Retry
from relayd.supervisor.snapshot import Snapshot
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
        reason: Why it is not in memory, or why its next start is far off; else empty.
        health_fault: What went wrong in relayd itself when it last failed to look at this incarnation.
        wall: What stops its process from taking all memory; None without a process.
        has_failed: Whether it is not in memory because its load failed.
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
    wall: MemoryWall | None = None
    has_failed: bool = False

    @property
    def spec(self) -> ReplicaSpec:
        """What runs, or would."""
        return self.planned.spec


@dataclass(slots=True)
class History:
    """What has happened to a replica; times are wall-clock seconds.

    Attributes:
        since: When it came into its present state.
        incarnation: How many times it was started, over all daemons.
        restarts: How many times it came back by itself.
        retry: How long the next try waits, and whether slowly.
        retry_at: When it is due.
        reason: Why it is not in memory.
        has_failed: Whether that is because its load failed.
    """

    since: float
    incarnation: int = 0
    restarts: int = 0
    retry: Retry = AT_ONCE
    retry_at: float | None = None
    reason: str = ""
    has_failed: bool = False
    last_exit: Exit | None = None
    last_exit_at: float | None = None
    last_words: tuple[str, ...] = ()
    log: Path | None = None
    command: tuple[str, ...] = ()

    def absent(self, reason: str, *, has_failed: bool = False) -> None:
        """Take note of why it is about to be out of memory."""
        self.reason, self.has_failed = reason, has_failed

    def attended(self, child: Child) -> None:
        """Take note of a process that is looked after now."""
        self.incarnation = child.endpoint.incarnation
        self.log, self.command = child.log, child.command

    def resume(self, known: Snapshot) -> None:
        """Continue with what another daemon knows of it."""
        self.incarnation = max(self.incarnation, known.incarnation)
        self.restarts = known.restarts
        self.last_exit, self.last_exit_at = known.last_exit, known.last_exit_at
        self.last_words = known.last_words

    def why(self, name: str, state: State) -> str:
        """Return why a replica without a process takes no requests, for clients that ask for it.

        Empty while it is restarted soon: requests wait for that.
        """
        if state is State.BACKOFF:
            spent = self.retry.slow and self.last_exit
            return f"{name} is started again later, it ended too often: {spent.message}" if spent else ""
        if state is State.COLD:
            return self.reason or f"{name} has not been loaded yet"
        if state is State.FATAL and self.last_exit:
            sentences = (self.last_exit.message, self.last_exit.remedy.rstrip("."))
            return f"{name} gave up: {'. '.join(filter(None, sentences))}"
        return f"{name} is stopped"

    def reason_in(self, name: str, state: State) -> str:
        """Return why it is not in memory, or why its next start is far off; empty in every other state."""
        if state is State.COLD:
            return self.reason
        return self.why(name, state) if state is State.BACKOFF else ""

    def ended(self, exit_: Exit, last_words: tuple[str, ...], at: float) -> None:
        """Take note of the end of an incarnation."""
        self.last_exit, self.last_exit_at = exit_, at
        if last_words:
            self.last_words = last_words

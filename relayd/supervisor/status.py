"""What is there to know about a replica, and by which intervals is it kept?"""

from dataclasses import dataclass
from pathlib import Path

from relayd.config.schema import Probe, Replicas, Restart
from relayd.planner import Planned, ReplicaSpec
from relayd.supervisor.causes import Exit
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

    @property
    def spec(self) -> ReplicaSpec:
        """What runs, or would."""
        return self.planned.spec

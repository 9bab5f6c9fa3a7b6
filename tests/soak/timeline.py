"""Which faults were in force when, and which failures of requests do they explain?"""

import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

CHILD_DIED = "child died"
CHILD_HUNG = "child hung"
DAEMON_KILLED = "daemon killed"
DAEMON_ENDED = "daemon ended"
DAEMON_PAUSED = "daemon paused"
DISK_FULL = "disk full"
FILES_DAMAGED = "files damaged"
MODEL_REPLACED = "model replaced"
MODEL_STOPPED = "model stopped"
NO_DESCRIPTORS = "no descriptors"

_CHILD = (CHILD_DIED, CHILD_HUNG, FILES_DAMAGED)
_DAEMON = (DAEMON_KILLED, DAEMON_ENDED)

_GRACE_SECONDS = {DAEMON_KILLED: 0.5, DAEMON_ENDED: 0.5}
_LONGEST_GRACE_SECONDS = 3.0
"""How long after a fault has ended its consequences may still reach a client."""

EXPLAINED_BY: dict[str, tuple[str, ...]] = {
    "stream cut, told": (*_CHILD, *_DAEMON, MODEL_STOPPED, MODEL_REPLACED),
    "stream cut inside an event": (*_CHILD, *_DAEMON, MODEL_STOPPED, MODEL_REPLACED),
    "stream cut between events, not told": _DAEMON,
    "stream cut after its end": (*_CHILD, *_DAEMON),
    "answer cut": _DAEMON,
    "connection refused": (*_DAEMON, NO_DESCRIPTORS),
    "connection closed without an answer": (*_DAEMON, NO_DESCRIPTORS),
    "422 request_refused_after_crash": (CHILD_DIED, CHILD_HUNG),
    "502 upstream_failed": (*_CHILD, NO_DESCRIPTORS, DISK_FULL, MODEL_REPLACED),
    "503 model_unavailable, it is stopped": (MODEL_STOPPED, MODEL_REPLACED),
    "503 model_unavailable, it gave up": (DISK_FULL, NO_DESCRIPTORS),
    "503 model_unavailable": _DAEMON,
    "503 server_stopping": _DAEMON,
    "503 replica_stopped": (MODEL_STOPPED, MODEL_REPLACED),
    "503 queue_timeout": (DISK_FULL, NO_DESCRIPTORS, MODEL_STOPPED),
    "404 model_not_found": (MODEL_REPLACED,),
}
"""A failure as its client saw it -> the faults that excuse it; any other is a broken invariant."""


@dataclass(slots=True)
class Window:
    """One fault while it is in force; no models means all of them."""

    kind: str
    models: frozenset[str]
    began: float
    ended: float = math.inf

    def touches(self, model: str, began: float, ended: float) -> bool:
        concerns = not self.models or model in self.models
        grace = _GRACE_SECONDS.get(self.kind, _LONGEST_GRACE_SECONDS)
        return concerns and self.began <= ended and began <= self.ended + grace


@dataclass(slots=True)
class Timeline:
    """What was done to the fleet, and what came of it."""

    started: float = field(default_factory=time.monotonic)
    windows: list[Window] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    findings: Counter[str] = field(default_factory=Counter)

    def say(self, text: str) -> None:
        """Print a line with the time since the start."""
        sys.stdout.write(f"{time.monotonic() - self.started:7.2f}  {text}\n")
        sys.stdout.flush()

    def violate(self, what: str) -> None:
        """Note that an invariant is broken."""
        self.broken.append(f"{time.monotonic() - self.started:.2f}: {what[:400]}")
        self.say(f"BROKEN  {what[:400]}")

    @contextmanager
    def window(self, kind: str, *models: str) -> Iterator[Window]:
        """Hold a fault in force."""
        window = Window(kind, frozenset(models), time.monotonic())
        self.windows.append(window)
        try:
            yield window
        finally:
            window.ended = time.monotonic()

    def in_force(self, model: str, began: float, ended: float) -> list[str]:
        """Return the kinds of faults that a span of time met, each once."""
        return sorted({window.kind for window in self.windows if window.touches(model, began, ended)})

    def explain(self, failure: str, model: str, began: float, ended: float) -> str | None:
        """Return the fault that excuses a failed request; None if there is none."""
        excuses = EXPLAINED_BY.get(failure, ())
        met = self.in_force(model, began, ended)
        return next((kind for kind in excuses if kind in met), None)

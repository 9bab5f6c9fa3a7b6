"""The start of a replica's process: its files are made in a thread, the process on the event loop's own."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from relayd.errors import RelaydError
from relayd.supervisor.causes import Cause, Exit
from relayd.supervisor.child import Child


class Launch(Protocol):
    """A process that could be started now: its lock is held, and its files are there."""

    def spawn(self) -> Child:
        """Start it; touches no disk. To be called in the main thread.

        Raises:
            EngineError: The binary cannot be started.
            OSError: The system is out of a resource; trying again may help.
        """
        ...

    def record(self) -> None:
        """Write down, for the next daemon, what was started. Blocks."""
        ...

    def abandon(self) -> None:
        """Let go of the lock: nothing is started."""
        ...


@dataclass(frozen=True, slots=True)
class NotStarted:
    """Why there is no process.

    Attributes:
        exit: The reason, as if it had ended.
        hopeless: Whether another try cannot help.
    """

    exit: Exit
    hopeless: bool = False


class Launching:
    """One start that is under way.

    Args:
        prepare: Makes what the start needs; may block, runs in a thread.
        report: Called from the event loop with the process, or with why there is none.

    Attributes:
        under_way: Whether there is no process yet.
        work: What is done in a thread: first what the start needs, then its record.
    """

    def __init__(self, prepare: Callable[[], Launch], report: Callable[[Child | NotStarted], None]) -> None:
        self.under_way = True
        self._report = report
        self._wanted = True
        self._loop = asyncio.get_running_loop()
        preparing = self._loop.run_in_executor(None, prepare)
        self.work: asyncio.Future[Any] = preparing
        preparing.add_done_callback(self._prepared)

    def __repr__(self) -> str:
        state = "under way" if self.under_way else "started"
        return f"<Launching: {state if self._wanted else 'called off'}>"

    def call_off(self) -> None:
        """Start nothing; it is reported once what was prepared is given back."""
        self._wanted = False

    def _prepared(self, preparing: "asyncio.Future[Launch]") -> None:
        outcome = self._outcome(preparing)
        self.under_way = False
        self._report(outcome)

    def _outcome(self, preparing: "asyncio.Future[Launch]") -> Child | NotStarted:
        try:
            return self._spawn(preparing.result())
        except RelaydError as error:
            return NotStarted(Exit(Cause.SPAWN_FAILED, None, error.message, error.remedy), hopeless=True)
        except OSError as error:
            return NotStarted(Exit(Cause.SPAWN_FAILED, None, f"the system refused: {error.strerror}"))

    def _spawn(self, launch: Launch) -> Child | NotStarted:
        if not self._wanted:
            launch.abandon()
            return NotStarted(Exit(Cause.COMMANDED, None, "it was stopped before it had started"))
        try:
            child = launch.spawn()
        except BaseException:
            launch.abandon()
            raise
        self.work = self._loop.run_in_executor(None, launch.record)
        return child

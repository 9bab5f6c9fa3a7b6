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

    def spawn(self) -> Child | None:
        """Start it; touches no disk. To be called in the main thread.

        Returns:
            The process; None where `find` has to wait for it.

        Raises:
            EngineError: The binary cannot be started.
            OSError: The system is out of a resource; trying again may help.
        """
        ...

    def find(self) -> Child:
        """Return the process that was started. Blocks.

        Raises:
            EngineError: It cannot be started.
            OSError: It has ended already.
        """
        ...

    def discard(self) -> None:
        """End the process that was started: it is not wanted any more. Blocks."""
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
        outcome = _attempted(lambda: self._spawn(preparing.result()))
        if outcome is not None:
            self._finish(outcome)
            return
        launch = preparing.result()
        finding = self._loop.run_in_executor(None, launch.find)
        self.work = finding
        finding.add_done_callback(lambda found: self._found(launch, found))

    def _found(self, launch: Launch, finding: "asyncio.Future[Child]") -> None:
        """Take the process that had to be waited for, or why there is none."""
        outcome: Child | NotStarted | None = _attempted(finding.result)
        if not isinstance(outcome, NotStarted):
            self.work = self._loop.run_in_executor(None, launch.record if self._wanted else launch.discard)
        self._finish(outcome if self._wanted and outcome is not None else _CALLED_OFF)

    def _finish(self, outcome: Child | NotStarted) -> None:
        self.under_way = False
        self._report(outcome)

    def _spawn(self, launch: Launch) -> Child | NotStarted | None:
        """Start a process; None where it is still to be found."""
        if not self._wanted:
            launch.abandon()
            return _CALLED_OFF
        try:
            child = launch.spawn()
        except BaseException:
            launch.abandon()
            raise
        if child is not None:
            self.work = self._loop.run_in_executor(None, launch.record)
        return child


_CALLED_OFF = NotStarted(Exit(Cause.COMMANDED, None, "it was stopped before it had started"))


def _attempted(start: Callable[[], Child | NotStarted | None]) -> Child | NotStarted | None:
    """Return what a start comes to, or why it failed."""
    try:
        return start()
    except RelaydError as error:
        return NotStarted(Exit(Cause.SPAWN_FAILED, None, error.message, error.remedy), hopeless=True)
    except OSError as error:
        return NotStarted(Exit(Cause.SPAWN_FAILED, None, f"the system refused: {error.strerror}"))

"""How does a request run without a task, as long as it waits for nothing but its replica (eager run)?

A task of asyncio costs a turn of the event loop, and a future and another turn for each wait. Most requests
wait once, for the answer. So a coroutine runs at once, as far as it gets, and goes on inside of what ends
its wait. A wait of any other kind (a body that arrives, a connection, a slow client) makes it a task.
"""

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, Protocol


class Cancellable(Protocol):
    """What runs a coroutine: `EagerRun`, or a task."""

    def cancel(self) -> object:
        """Raise CancelledError where it waits."""
        ...

    def uncancel(self) -> int:
        """Take one cancellation back, and return how many are left."""
        ...


_running: "EagerRun | None" = None
"""Whose coroutine is being executed."""


def current() -> Cancellable | None:
    """Return what runs the coroutine that calls this."""
    return _running or asyncio.current_task()


async def become_task() -> None:
    """Go on as a task, for what needs one: `asyncio.timeout`."""
    if _running is not None:
        await asyncio.sleep(0)


class Pause:
    """One wait, ended by `go_on`; what waited goes on before that returns, unless it is a task."""

    __slots__ = ("_is_over", "_waiting")

    def __init__(self) -> None:
        self._is_over = False
        self._waiting: EagerRun | asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Pause {'over' if self._is_over else 'waiting'}>"

    def __await__(self) -> Generator[Any, None, None]:
        """Wait; yields itself to an eager run, and a future to a task."""
        if self._is_over:
            return
        if _running is not None:
            self._waiting = _running
            yield self
        else:
            self._waiting = asyncio.get_running_loop().create_future()
            yield from self._waiting

    def go_on(self) -> None:
        """End the wait; a second call changes nothing."""
        if self._is_over:
            return
        self._is_over = True
        waiting = self._waiting
        if isinstance(waiting, EagerRun):
            waiting.resume(self)
        elif waiting is not None and not waiting.done():
            waiting.set_result(None)


class EagerRun:
    """Runs a coroutine, from now on until it is over."""

    __slots__ = ("_cancellations", "_coroutine", "_task", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, None, None]) -> None:
        self._coroutine = coroutine
        self._waits_for: object = None
        self._task: asyncio.Task[None] | None = None
        self._cancellations = 0
        self._step()

    def __repr__(self) -> str:
        state = "a task" if self._task else "waiting" if self._waits_for else "over"
        return f"<EagerRun {state} cancellations={self._cancellations}>"

    def resume(self, pause: Pause) -> None:
        """Go on, if it still waits for this."""
        if self._waits_for is pause:
            self._step()

    def cancel(self) -> None:
        """Raise CancelledError where it waits, in the next turn of the event loop.

        A task that was made in this turn has not begun: it would end before it could raise anything.
        """
        asyncio.get_running_loop().call_soon(self._interrupt)

    def uncancel(self) -> int:
        """Take one cancellation back, and return how many are left."""
        if self._task is not None:
            return self._task.uncancel()
        self._cancellations -= 1
        return self._cancellations

    def _interrupt(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif self._waits_for is not None:
            self._cancellations += 1
            self._step(asyncio.CancelledError())

    def _step(self, error: BaseException | None = None) -> None:
        """Run to the next wait, or to the end."""
        global _running  # noqa: PLW0603 - as asyncio keeps its current task: one thread, one at a time
        before, _running = _running, self
        self._waits_for = waits_for = None
        try:
            waits_for = self._coroutine.send(None) if error is None else self._coroutine.throw(error)
        except (StopIteration, asyncio.CancelledError):
            return
        finally:
            _running = before
        if type(waits_for) is Pause:
            self._waits_for = waits_for
        else:
            self._task = asyncio.get_running_loop().create_task(_as_task(self._coroutine, waits_for))


async def _as_task(begun: Coroutine[Any, None, None], waits_for: object) -> None:
    await _rest(begun, waits_for)


@coroutine
def _rest(begun: Coroutine[Any, None, None], waits_for: object) -> Generator[Any, None, None]:
    """Run the rest of a coroutine that waits for something."""
    while True:
        try:
            yield waits_for
        except BaseException as error:  # noqa: BLE001 - raised where the coroutine waits
            try:
                waits_for = begun.throw(error)
            except StopIteration:
                return
        else:
            yield from begun
            return

"""Coalesce concurrent calls: callers during a run share the next run (request coalescing)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Coalesced(Generic[Result]):
    """Runs one thing at a time, and a call during a run waits for the run after it.

    Args:
        run: What is run; it must see everything that was there before it began.
    """

    def __init__(self, run: Callable[[], Awaitable[Result]]) -> None:
        self._run = run
        self._running: asyncio.Task[Result] | None = None
        self._waiting: asyncio.Task[Result] | None = None

    def __repr__(self) -> str:
        running = self._running is not None and not self._running.done()
        return f"<Coalesced: {int(running)} running, {int(self._waiting is not None)} waiting>"

    async def run(self) -> Result:
        """Return what the first run that begins from now on returns, or raise what it raises.

        The run is shared: it goes on when one of its callers is cancelled.
        """
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._run_after(self._running))
        return await asyncio.shield(self._waiting)

    async def _run_after(self, running: "asyncio.Task[Result] | None") -> Result:
        if running:
            await asyncio.wait((running,))
        self._running, self._waiting = self._waiting, None
        return await self._run()

"""How does a storm of the same wish become as few runs as its wishers need?"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Outcome = TypeVar("Outcome")


class Coalesced(Generic[Outcome]):
    """Runs one thing at a time: whoever asks during a run shares the one that comes next.

    Args:
        run: What is run; it must see everything that was there before it began.
    """

    def __init__(self, run: Callable[[], Awaitable[Outcome]]) -> None:
        self._run = run
        self._running: asyncio.Task[Outcome] | None = None
        self._waiting: asyncio.Task[Outcome] | None = None

    async def ask(self) -> Outcome:
        """Return what comes of the first run that begins from now on, or raise what it raises.

        The run is everybody's: it goes on when one who asked gives up.
        """
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._run_after(self._running))
        return await asyncio.shield(self._waiting)

    async def _run_after(self, running: "asyncio.Task[Outcome] | None") -> Outcome:
        if running:
            await asyncio.wait((running,))
        self._running, self._waiting = self._waiting, None
        return await self._run()

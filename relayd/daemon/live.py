"""What changes while people look on (live feed): one look at a time for all, a patch from look to look.

No client is waited for: a slow one misses revisions, and then gets all of the state once.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec

from relayd.daemon.livereport import LiveEvent, LiveReport
from relayd.daemon.mergepatch import difference, keyed

Look = Callable[[], Awaitable[LiveReport]]

PERIOD_SECONDS = 0.25
"""From one look to the next while a client follows."""

_TURNS = 16
"""Clients are served in so many turns within half a period: what is written to a hundred at once would hold
up the answers of others for 6 ms."""


class LiveFeed:
    """Lets any number of pages follow the daemon.

    Args:
        look: Returns the daemon as it is.
        period_seconds: From one look to the next.
    """

    def __init__(self, look: Look, *, period_seconds: float = PERIOD_SECONDS) -> None:
        self._look = look
        self._period_seconds = period_seconds
        self._revision = 0
        self._state: dict[str, Any] = {}
        self._patch = msgspec.Raw(b"{}")
        self._changed = asyncio.Event()
        self._followers = 0
        self._begun = 0
        self._looking: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<LiveFeed revision={self._revision} followers={self._followers}>"

    async def follow(self) -> AsyncGenerator[LiveEvent]:
        """Yield the state, and then what changes in it; at most once in a period."""
        self._followers += 1
        self._begun += 1
        later = self._begun % _TURNS * self._period_seconds / (2 * _TURNS)
        try:
            await self._begin()
            seen = self._revision
            yield LiveEvent(seen, state=msgspec.Raw(msgspec.json.encode(self._state)))
            while True:
                while seen == self._revision:
                    await self._changed.wait()
                    await asyncio.sleep(later)
                is_next, seen = seen + 1 == self._revision, self._revision
                if is_next:
                    yield LiveEvent(seen, patch=self._patch)
                else:
                    yield LiveEvent(seen, state=msgspec.Raw(msgspec.json.encode(self._state)))
        finally:
            self._followers -= 1
            if not self._followers and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _begin(self) -> None:
        """Make sure that the state is of now, and that changes are looked for."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._watch())
            self._changed.clear()
        if not self._state or self._followers == 1:
            await self._refresh()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._period_seconds)
            await self._refresh()

    async def _refresh(self) -> None:
        state, patch = await asyncio.to_thread(_compared, self._state, await self._look())
        if patch is not None:
            self._state, self._patch = state, patch
            self._revision += 1
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()


def _compared(before: dict[str, Any], report: LiveReport) -> tuple[dict[str, Any], msgspec.Raw | None]:
    """Return a report as a document, and what has changed in it; None where nothing has.

    It takes milliseconds for a hundred requests: in a thread, so that it holds up no answer.
    """
    state = keyed(msgspec.to_builtins(report))
    patch = difference(before, state)
    return state, msgspec.Raw(msgspec.json.encode(patch)) if patch else None

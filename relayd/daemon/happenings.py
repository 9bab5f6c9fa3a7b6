"""Who follows what the daemon writes into its journal, as it happens (the feed of events)?"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator
from weakref import WeakSet

from relayd.daemon.adminreport import Happening

MOST = 1000
"""Happenings that may wait for one who follows them slowly."""


class _Follower:
    """What waits for one who follows."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.waiting: deque[Happening] = deque(maxlen=MOST)
        self.lost = 0
        self.came = asyncio.Event()

    def take(self, happening: Happening) -> None:
        if happening.event.startswith(self.prefix):
            self.lost += len(self.waiting) == MOST
            self.waiting.append(happening)
            self.came.set()


class Happenings(logging.Handler):
    """Passes on every event of the journal to those who follow it; a slow one loses the oldest.

    The journal is written from threads too: an event of those is passed on by the event loop.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._followers: WeakSet[_Follower] = WeakSet()
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        return f"<Happenings: {len(self._followers)} follow>"

    def emit(self, record: logging.LogRecord) -> None:
        """Pass an event on."""
        event = getattr(record, "event", "")
        if event and self._followers:
            fields = {name: _plain(value) for name, value in getattr(record, "fields", {}).items()}
            happening = Happening(event, record.created, record.levelname.lower(), fields)
            self._loop.call_soon_threadsafe(self._pass_on, happening)

    def _pass_on(self, happening: Happening) -> None:
        for follower in self._followers:
            follower.take(happening)

    def follow(self, prefix: str = "") -> AsyncGenerator[Happening]:
        """Return what yields every event from now on whose name begins with `prefix`."""
        follower = _Follower(prefix)
        self._followers.add(follower)
        return self._yield(follower)

    async def _yield(self, follower: _Follower) -> AsyncGenerator[Happening]:
        try:
            while True:
                while follower.waiting:
                    if lost := follower.lost:
                        follower.lost = 0
                        first = follower.waiting[0]
                        yield Happening("events.lost", first.time, "warning", {"lost": lost})
                    yield follower.waiting.popleft()
                follower.came.clear()
                await follower.came.wait()
        finally:
            self._followers.discard(follower)


def _plain(value: object) -> object:
    """Return a value that JSON has, any other as text."""
    return value if isinstance(value, str | int | float | bool | None) else str(value)

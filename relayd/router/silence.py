"""Which streams have sent nothing for too long (silence)?

One timer looks at all connections that may carry one, so that a stream costs nothing of its own.
"""

import asyncio
from typing import Protocol
from weakref import WeakSet

_LOOKS = 8
"""How often is looked within the longest silence: it is noticed an eighth of it late at most."""


class WatchedStream(Protocol):
    """A connection that may carry an answer of events: `Upstream`."""

    def fall_silent(self, since: float, silence_seconds: float) -> None:
        """Fail such an answer unless something of it has come after `since` (loop time), or is not read."""
        ...


class Silence:
    """Fails answers of replicas that hang.

    Args:
        seconds: How long a stream may send nothing. The engine sends a comment every 30 s
            (`--sse-ping-interval`), so longer silence means that it hangs.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._streams: WeakSet[WatchedStream] = WeakSet()
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Silence streams={len(self._streams)}>"

    def watch(self, stream: WatchedStream) -> None:
        """Look at an answer from now on, or at all that a connection carries."""
        self._streams.add(stream)
        if self._timer is None:
            self._schedule()

    def leave(self, stream: WatchedStream) -> None:
        """Look at it no more, if it was looked at."""
        self._streams.discard(stream)

    def close(self) -> None:
        """Look at nothing any more."""
        self._streams.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds / _LOOKS, self._look)

    def _look(self) -> None:
        self._timer = None
        since = asyncio.get_running_loop().time() - self._seconds
        for stream in tuple(self._streams):
            stream.fall_silent(since, self._seconds)
        if self._streams:
            self._schedule()

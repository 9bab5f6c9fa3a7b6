"""Has a client that sends nothing more left, or does it wait for its answer (half-close)?

Both begin with the same FIN. As HAProxy does by default, a request that came whole is served until its
client turns out to be gone: a closed socket answers what is sent to it with a reset. To have it do so at
once, and not after a long answer, an interim response is sent first (100 Continue, RFC 9110, 15.2), which
every client of HTTP/1.1 skips. HTTP/1.0 has none: there the first bytes of the answer have to do.
"""

import asyncio
import select
from typing import Protocol

_FIRST_SECONDS = 0.005
_MOST_SECONDS = 0.25


class Awaiting(Protocol):
    """A connection whose client has half-closed it."""

    def is_answered(self) -> bool:
        """Return whether everything that was asked has been answered."""
        ...

    def probe(self) -> bool:
        """Send something that a client which has left answers with a reset; return whether that is done."""
        ...

    def fileno(self) -> int:
        """Return its descriptor; -1 once it is closed."""
        ...

    def force_close(self) -> None:
        """Close it."""
        ...

    def abort(self) -> None:
        """Close it and cancel what still runs for it."""
        ...


class HalfClosed:
    """Looks after a half-closed connection until its end; the loop itself reads nothing of it any more."""

    def __init__(self, connection: Awaiting, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop
        self._probed = False
        self._wait_seconds = _FIRST_SECONDS
        self._timer: asyncio.Handle = loop.call_soon(self._look)

    def __repr__(self) -> str:
        return f"<HalfClosed{' probed' if self._probed else ''}>"

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        connection = self._connection
        if connection.is_answered():
            connection.force_close()
        elif (descriptor := connection.fileno()) < 0 or was_reset(descriptor):
            connection.abort()
        else:
            self._probed = self._probed or connection.probe()
            self._timer = self._loop.call_later(self._wait_seconds, self._look)
            self._wait_seconds = min(2 * self._wait_seconds, _MOST_SECONDS)


def was_reset(descriptor: int) -> bool:
    """Return whether the peer of a socket has answered with a reset."""
    poll = select.poll()
    poll.register(descriptor, 0)  # POLLERR and POLLHUP are always reported
    return bool(poll.poll(0))

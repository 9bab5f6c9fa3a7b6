"""How do two daemons of one machine talk, and pass open files to each other?

Over a pair of unix sockets that only they hold: JSON objects, one a line, each with the descriptors that
belong to it.
"""

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

_MOST_BYTES = 1 << 16
_MOST_DESCRIPTORS = 16
"""In one message; Linux allows 253."""

_SEND_SECONDS = 5.0
"""How long the other side may read nothing before it counts as gone."""


class Channel:
    """One end of a pair; everything is called on the event loop's thread.

    A message that cannot be understood ends it: nothing after it could be trusted.

    Args:
        end: A connected unix stream socket, owned from here on.
        receive: Called with each message and its descriptors, which it owns.
        gone: Called once when the other side has closed, or died.
    """

    def __init__(
        self,
        end: socket.socket,
        receive: Callable[[bytes, list[int]], None],
        gone: Callable[[], None],
    ) -> None:
        end.settimeout(_SEND_SECONDS)
        self._end = end
        self._receive = receive
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._descriptors: deque[int] = deque()
        self._open = True
        self._loop.add_reader(end.fileno(), self._read)

    def send(self, message: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send a message; what is sent to a side that is gone is lost, as `gone` tells.

        Args:
            message: Without a newline.
            descriptors: What the other side gets copies of.
        """
        if not self._open:
            return
        line = b"%d %b\n" % (len(descriptors), message)
        try:
            sent = socket.send_fds(self._end, [line], descriptors)
            if rest := line[sent:]:
                self._end.sendall(rest)
        except TimeoutError:
            with contextlib.suppress(OSError):
                self._end.shutdown(socket.SHUT_RDWR)  # half a message may be under way: no further one
            self._loop.call_soon(self._lose)
        except OSError:
            return  # it has closed: what it said before is still to be read, and then its end

    def close(self) -> None:
        """Say no more; the other side hears that."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._end.fileno())
        self._end.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def _read(self) -> None:
        try:
            data, descriptors, *_ = socket.recv_fds(self._end, _MOST_BYTES, _MOST_DESCRIPTORS)
        except OSError:
            data, descriptors = b"", []
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self._descriptors.extend(descriptors)
        if not data:
            self._lose()
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            number, _, message = line.partition(b" ")
            try:
                self._receive(message, [self._descriptors.popleft() for _ in range(int(number))])
            except (
                IndexError,
                msgspec.DecodeError,
            ):  # no descriptor was free here; or another version speaks
                self._lose()
                return

    def _lose(self) -> None:
        if self._open:
            self.close()
            self._gone()

"""A pair of unix sockets that two daemons of one machine share: JSON objects, and open files (channel).

One object a line, each with the number of descriptors that belong to it in front.
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
"""How long the peer may read nothing before it counts as gone."""

PEER_GONE = "the other daemon has ended"


class Channel:
    """One end of a pair; everything is called on the event loop's thread.

    A message that cannot be decoded ends the channel: nothing after it could be trusted.

    Args:
        end: A connected unix stream socket, owned from here on.
        receive: Called with each message and its descriptors, which it owns.
        gone: Called once, with the reason, when no message comes any more.
    """

    def __init__(
        self,
        end: socket.socket,
        receive: Callable[[bytes, list[int]], None],
        gone: Callable[[str], None],
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

    def __repr__(self) -> str:
        state = "open" if self._open else "closed"
        return f"<Channel {state}: {len(self._buffer)} bytes, {len(self._descriptors)} descriptors buffered>"

    def send(self, message: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send a message; what is sent to a peer that is gone is lost, as `gone` reports.

        Args:
            message: Without a newline.
            descriptors: The peer gets copies of them.
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
            self._loop.call_soon(self._lose, f"the other daemon read nothing for {_SEND_SECONDS:g} s")
        except OSError:
            return  # the peer has closed: read its pending messages first, then EOF

    def close(self) -> None:
        """Close this end; the peer sees EOF."""
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
            self._lose(PEER_GONE)
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            number, _, message = line.partition(b" ")
            try:
                self._receive(message, [self._descriptors.popleft() for _ in range(int(number))])
            except IndexError:
                self._lose("a file that the other daemon sent did not arrive: out of descriptors")
                return
            except msgspec.DecodeError as error:
                self._lose(f"a message of the other daemon cannot be read: {error}")
                return

    def _lose(self, reason: str) -> None:
        if self._open:
            self.close()
            self._gone(reason)

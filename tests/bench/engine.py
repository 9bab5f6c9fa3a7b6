"""An engine that answers at once, or paces a stream: only the router in front of it is measured.

    python -m tests.bench.engine HOST      HOST is a port, or a path that ends in `.sock`

A request whose body asks for a stream gets 64 events of about 200 bytes; `@d=MICROSECONDS` in its
body paces them. Each event carries the monotonic time at which it was written.
"""

import asyncio
import sys
import time
from typing import cast

import uvloop

EVENTS = 64
_TEXT = b"hello " * 70
ANSWER = (
    b'{"id":"chatcmpl-abc","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"stop",'
    b'"message":{"role":"assistant","content":"%b"}}],"usage":{"prompt_tokens":100,"completion_tokens":50}}'
    % _TEXT
)
_PLAIN = b"HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Type: application/json; charset=utf-8\r\n"
_WHOLE = _PLAIN + b"Content-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
_REFUSED = b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
_STREAM = _PLAIN.replace(b"application/json; charset=utf-8", b"text/event-stream") + (
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_LAST = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
_STATUS = b'{"status":"ok","data":[{"id":"m"}],"model_path":"m","served_model_name":"m","model_id":"m"}'


def event(number: int) -> bytes:
    """Return one chunk of a stream, stamped with the time."""
    begun = b'data: {"choices":[{"index":0,"delta":{"content":"@TS%020d tok%04d' % (
        time.monotonic_ns(),
        number,
    )
    text = begun.ljust(190, b"x") + b'"}}]}\n\n'
    return b"%x\r\n%b\r\n" % (len(text), text)


class Scripted(asyncio.Protocol):
    """One connection of the router."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._inbox = b""
        self._left = 0
        self._gap_seconds = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._inbox += data
        head, found, rest = self._inbox.partition(b"\r\n\r\n")
        lowered = head.lower()
        length = int(lowered.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if found and len(rest) >= length:
            self._inbox = rest[length:]
            self._answer(lowered, rest[:length])

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get"):
            refused = head.startswith(b"get /props") and b"authorization:" not in head
            whole = _PLAIN + b"Content-Length: %d\r\n\r\n%b" % (len(_STATUS), _STATUS)
            self.transport.write(_REFUSED if refused else whole)
        elif b'"stream":true' in body:
            self._gap_seconds = int(body.partition(b"@d=")[2].partition(b" ")[0] or 0) / 1e6
            self._left = EVENTS
            self.transport.write(_STREAM)
            self._next()
        else:
            self.transport.write(_WHOLE)

    def _next(self) -> None:
        while self._left and not self.transport.is_closing():
            self.transport.write(event(self._left))
            self._left -= 1
            if self._gap_seconds:
                asyncio.get_running_loop().call_later(self._gap_seconds, self._next)
                return
        if not self.transport.is_closing():
            self.transport.write(_LAST)


async def serve(host: str) -> None:
    """Answer until killed."""
    loop = asyncio.get_running_loop()
    if host.endswith(".sock"):
        server = await loop.create_unix_server(Scripted, host, backlog=4096)
    else:
        server = await loop.create_server(Scripted, "127.0.0.1", int(host), backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[-1]))

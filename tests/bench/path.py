"""How much Python runs for one request? `python -m tests.bench.path`

Door, schedule and router are real; the two sockets are not. Counts calls of Python functions, which are the
same on every machine however busy it is. What a request costs in time is measured by `tests.bench`.
"""

import asyncio
import pathlib
import socket
import sys
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, cast

from relayd.api.deadlines import Deadlines
from relayd.api.door import Door
from relayd.api.fleet import ModelState, ModelView
from relayd.api.guard import make_policy
from relayd.api.inference import Inference
from relayd.api.keys import FailedKeys, Keyring
from relayd.api.lane import Lane
from relayd.api.lanes import Lanes
from relayd.api.limiter import ConnectionLimiter, ConnectionLimits
from relayd.api.openai import OPENAI, openai_routes
from relayd.clock import SystemClock
from relayd.daemon.actor import Actor, Executors
from relayd.endpoint import Endpoint, UnixAddress
from relayd.router import Dispatcher, Exchanges, Pools, Proxy
from relayd.router.upstream import Upstream
from relayd.scheduler import Ready, Scheduler
from relayd.secret import Secret
from relayd.units import mib
from tests.api.conftest import KEY, StillFleet, known_keys

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"word"}}]}\n\n'
_LAST = b'data: {"choices":[],"timings":{"cache_n":1,"prompt_n":2,"predicted_n":3}}\n\ndata: [DONE]\n\n'


class Wire(asyncio.Transport):
    """A connection that takes everything at once, and has `on_write` know."""

    def __init__(self, on_write: Callable[[], None] = lambda: None) -> None:
        super().__init__({"socket": self, "peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self._on_write = on_write

    family = socket.AF_UNIX

    def setsockopt(self, *_: object) -> None:
        """Take an option, as a socket does."""

    def write(self, data: object) -> None:
        self._on_write()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Take limits that are never reached."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


class Address(UnixAddress):
    """Where a replica of ours answers: on a wire. `asked` is its connection."""

    asked: Upstream

    async def open(self, _loop: object, handler: Callable[[], Any]) -> Any:
        upstream = handler()
        upstream.connection_made(Wire())
        object.__setattr__(self, "asked", upstream)  # an address is frozen
        return upstream


class Path:
    """A client of relayd and one replica, on wires."""

    def __init__(self) -> None:
        clock, limits, self._replica = SystemClock(), ConnectionLimits(), Address(pathlib.Path("/m.sock"))
        actor = Actor(Scheduler(depth=8), clock)
        dispatcher = Dispatcher(actor.post, clock, max_wait_seconds=60, schedule=actor)
        actor.start(Executors(dispatcher.on_answer, dispatcher.on_answer, lambda _: None))
        actor.post(Ready("m#0", "m", 4, Endpoint(self._replica, Secret("k"), "m#0", 1)))
        model = ModelView("m", (), 1, 1, 4, 4096, ModelState.READY, demo=False, created=1)
        proxy = Proxy(
            Pools(most_uses=sys.maxsize), write_stall_seconds=60, on_fault=lambda *fault: print(fault)
        )
        inference = Inference(
            StillFleet((model,)), dispatcher, proxy, Exchanges(clock), max_body=mib(1), body_seconds=30
        )
        keyring = Keyring(FailedKeys(clock), known_keys(KEY))
        door = Door(openai_routes(inference), make_policy("127.0.0.1", keyed=True), keyring, OPENAI)
        deadlines = Deadlines(asyncio.get_running_loop())
        limiter, server = ConnectionLimiter(limits), cast("Any", None)
        self._lane = Lane(Lanes(limits, limiter, deadlines, server, OPENAI, clock, lambda: door))
        self._lane.connection_made(Wire())

    def send(self, prompt: str) -> None:
        """Ask for a stream, as a client that keeps its connection does."""
        body = b'{"model":"m","messages":[{"role":"user","content":"%b"}],"stream":true}' % prompt.encode()
        self._lane.data_received(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (KEY.encode(), len(body), body)
        )

    def answer(self, chunks: int) -> None:
        """Have the replica answer in so many events besides the last."""
        replica = self._replica.asked
        replica.data_received(_HEAD)
        for event in (*[_EVENT] * chunks, _LAST):
            replica.data_received(b"%x\r\n%b\r\n" % (len(event), event))
        replica.data_received(b"0\r\n\r\n")

    async def warm(self) -> None:
        """Have everything made that is made once."""
        for _ in range(3):
            self.send("hi")
            while not hasattr(self._replica, "asked"):
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            self.answer(1)
            await asyncio.sleep(0)


def counted(scene: Callable[[], None]) -> Counter[CodeType]:
    """Return how often each function of relayd was called."""
    calls: Counter[CodeType] = Counter()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and "/relayd/" in frame.f_code.co_filename:
            calls[frame.f_code] += 1

    sys.setprofile(note)
    try:
        scene()
    finally:
        sys.setprofile(None)
    return calls


async def measured(prompt: str = "hi", chunks: int = 0) -> Counter[CodeType]:
    """Return the calls of one request."""
    path = Path()
    await path.warm()

    def scene() -> None:
        path.send(prompt)
        path.answer(chunks)

    return counted(scene)


def main() -> None:
    """Print the calls of a request, by function, and of a chunk."""
    request, longer = asyncio.run(measured()), asyncio.run(measured(chunks=100))
    for code, calls in request.most_common():
        print(
            f"{calls:4}  {code.co_filename.rpartition('relayd/')[2]}:{code.co_firstlineno} {code.co_qualname}"
        )
    print(f"{request.total()} calls a request, {(longer.total() - request.total()) / 100:g} a chunk")


if __name__ == "__main__":
    main()

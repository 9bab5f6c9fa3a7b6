"""Does a stream give its slot to an urgent request, and go on afterwards as if nothing had happened?"""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

from relayd.api.openai import OPENAI
from relayd.clock import SystemClock
from relayd.engine import Engine
from relayd.router import Call, Dispatcher, Exchanges, Fields, Pools, Proxy
from relayd.scheduler import Ask, Dispatch, Ended, Event, Exchange, Ready, Refuse, Scheduler
from tests.daemons import DEADLINE_SECONDS
from tests.ggufs import SLOW, make_model
from tests.kills.forms import FORMS, events_of
from tests.router.test_with_engine import Child

pytestmark = pytest.mark.real

NATIVE = FORMS["native"]
TOKENS = 120


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def child(engine: Engine) -> Iterator[Child]:
    """An engine of one slot that reads a prompt token by token, as it writes: only a loss would show."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="pre")))
        model = make_model(folder / "m.gguf", replace(SLOW, writes_bytes=False))
        flags = "--host r.sock -t 1 -np 1 -c 2048 -b 256 -ub 1 --cache-ram 0 --no-ui"
        process = subprocess.Popen(
            [engine.path, "-m", model, *flags.split()],
            cwd=folder,
            env={"LLAMA_API_KEY": "k"},
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        stack.callback(process.stderr.close)
        child = Child(process, folder / "r.sock")
        stack.callback(child.reader.join)
        stack.callback(process.wait)
        stack.callback(process.kill)
        child.await_line(b"listening on")
        yield child


@dataclass
class Client:
    """Takes one answer."""

    splices = True
    is_gone = False
    written: bytes = b""
    more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def sent_bytes(self) -> int:
        return len(self.written)

    def begin(self, status: int, fields: Fields, *, framed: bool) -> None:
        assert (200, True) == (status, framed)

    def write(self, data: bytes) -> bool:
        self.written += data
        self.more.set()
        return False

    async def until(self, count: int) -> None:
        """Return when so many events have come."""
        while self.written.count(b"data: ") < count:
            self.more.clear()
            await self.more.wait()

    async def room(self, stall_seconds: float) -> None: ...

    async def end(self, stall_seconds: float) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


@dataclass
class DataPath:
    """A scheduler, and what carries requests to one replica of one slot."""

    child: Child
    scheduler: Scheduler = field(default_factory=lambda: Scheduler(depth=9))
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = SystemClock()
        self.exchanges = Exchanges(self.clock)
        self.dispatcher = Dispatcher(self.post, self.clock, max_wait_seconds=DEADLINE_SECONDS)
        self.pools = Pools()
        self.proxy = Proxy(
            self.pools, write_stall_seconds=5, on_fault=lambda _, fault: self.faults.append(fault)
        )
        self.post(Ready("m#0", "m", 1, self.child.endpoint))

    def post(self, event: Event) -> None:
        for effect in self.scheduler.handle(event, self.clock.monotonic()):
            if isinstance(effect, Dispatch | Refuse):
                self.dispatcher.on_answer(effect)

    async def ask(self, client: Client, klass: str, tokens: int, **more: object) -> str:
        """Return the text of an answer."""
        members = {
            **NATIVE.body("once upon a time", tokens),
            "temperature": 0,
            "seed": 1,
            "stream": True,
            **more,
        }
        call = Call("/completion", msgspec.json.encode(members), stream=True)
        with self.exchanges.begin(klass, call.path) as record:
            ask = Ask("m", klass=klass, stream=True, flow=klass)
            with self.dispatcher.open(ask, record) as lease:
                await self.proxy.forward(client, call, lease, OPENAI)
        return NATIVE.text(events_of(client.written))

    def exchange(self, klass: str) -> Exchange:
        """Return the last one of a class."""
        return next(one for one in self.exchanges.newest() if one.request_id == klass)


async def until_waiting(path: DataPath, count: int) -> None:
    while len(path.scheduler.waiting()) < count:
        await asyncio.sleep(0)


async def test_a_stream_gives_its_slot_to_an_urgent_request_and_goes_on(child: Child) -> None:
    path = DataPath(child)
    whole = await path.ask(Client(), "batch", TOKENS)
    client = Client()
    batch = asyncio.ensure_future(path.ask(client, "batch", TOKENS))
    await client.until(20)
    urgent = asyncio.ensure_future(path.ask(Client(), "interactive", 5))
    await until_waiting(path, 1)
    (running,) = path.scheduler.running()

    assert path.dispatcher.give_back(running.ticket.id)

    await urgent
    assert not batch.done()
    assert whole == await batch
    assert 1 == client.written.count(NATIVE.ends)
    assert Ended.CONTINUED is path.exchange("batch").ended
    assert Ended.DONE is path.exchange("interactive").ended
    assert [] == path.faults
    path.pools.close()


async def test_an_answer_that_cannot_be_continued_keeps_its_slot(child: Child) -> None:
    path, client = DataPath(child), Client()
    batch = asyncio.ensure_future(path.ask(client, "batch", TOKENS, grammar="root ::= [a-z ]*"))
    await client.until(5)
    (running,) = path.scheduler.running()

    assert not path.dispatcher.give_back(running.ticket.id)

    await batch
    assert Ended.DONE is path.exchange("batch").ended
    assert not path.dispatcher.give_back(running.ticket.id)
    path.pools.close()

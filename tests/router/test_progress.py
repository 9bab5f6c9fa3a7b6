"""Comments go to streams that asked for them and wait, and what follows is an event of the stream."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from relayd.api.openai import OPENAI
from relayd.clock import SystemClock
from relayd.errors import QueueTimeoutError
from relayd.router import Call, Dialect, Exchanges, Lease, ProgressComments, Proxy
from relayd.router.recipient import Fields
from relayd.scheduler import Ask, Ticket
from relayd.scheduler.views import TicketProgress

pytestmark = pytest.mark.pure

WAITING = TicketProgress(position=2, is_loaded=False, is_loading=True, seconds=4.5)
COMMENT = b": relayd position=2 state=loading seconds=4.5\n\n"


@dataclass
class Client:
    """Notes what is written to it."""

    splices: bool = True
    is_gone: bool = False
    statuses: list[int] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    written: bytes = b""
    ends: list[str] = field(default_factory=list)
    commented: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def sent_bytes(self) -> int:
        return len(self.written)

    def begin(self, status: int, fields: Fields, *, framed: bool) -> None:
        self.statuses.append(status)
        self.heads.append(dict(fields))

    def write(self, data: bytes) -> bool:
        self.written += data
        self.commented.set()
        return False

    async def room(self, stall_seconds: float) -> None:
        pass

    async def end(self, stall_seconds: float) -> None:
        self.ends.append("end")

    def close(self) -> None:
        self.ends.append("close")

    def abort(self) -> None:
        self.ends.append("abort")


@dataclass
class Forwarding:
    """A proxy whose request goes as a test has it."""

    story: Callable[[Client], Awaitable[None]]

    async def forward(
        self, client: Client, call: Call, lease: Lease, dialect: Dialect, headers: dict[str, str]
    ) -> None:
        lease.call, lease.answering = call, (client, dialect, headers)
        await self.story(client)


def tell(
    story: Callable[[Client], Awaitable[None]],
    progress: TicketProgress | None = WAITING,
    *,
    first_seconds: float = 0.0,
) -> tuple[Client, Lease]:
    """Tell a story of one stream that asked for comments."""

    async def scene() -> tuple[Client, Lease]:
        client, clock = Client(), SystemClock()
        record = Exchanges(clock).begin("r1", "/v1/completions")
        lease = Lease(cast("object", None), Ticket(7, Ask("m")), record)  # type: ignore[arg-type]  # it is never placed
        comments = ProgressComments(
            lambda ticket_id, model: progress if (ticket_id, model) == (7, "m") else None,
            first_seconds=first_seconds,
            every_seconds=0.001,
        )
        proxy = cast("Proxy", Forwarding(story))
        async with asyncio.timeout(60):
            await comments.forward(proxy, client, Call("/", b"", True), lease, OPENAI, {"X-Own": "1"})
        return client, lease

    return asyncio.run(scene())


async def two_comments(client: Client) -> None:
    while client.written.count(COMMENT) < 2:
        client.commented.clear()
        await client.commented.wait()


def test_a_stream_that_waits_gets_its_head_once_and_comments() -> None:
    client, _ = tell(two_comments)

    assert [200] == client.statuses
    fields = {"Content-Type": "text/event-stream", "X-Own": "1", "X-Request-ID": "r1"}
    assert fields.items() <= client.heads[0].items()
    assert COMMENT * (len(client.written) // len(COMMENT)) == client.written


def test_an_answer_that_comes_soon_has_no_comment() -> None:
    async def at_once(client: Client) -> None:
        pass

    client, _ = tell(at_once, first_seconds=60)

    assert ([], b"") == (client.heads, client.written)


def test_a_request_that_does_not_wait_in_line_gets_no_comment() -> None:
    async def later(_client: Client) -> None:
        await asyncio.sleep(0.02)

    client, _ = tell(later, None)

    assert b"" == client.written


@pytest.mark.parametrize(
    ("always", "asked", "splices", "shown"),
    [
        (False, "1", True, True),
        (False, None, True, False),
        (False, "0", True, False),
        (True, None, True, True),
        (True, "1", False, False),  # HTTP/1.0, or what aiohttp answers
    ],
)
def test_comments_are_for_event_streams_that_ask_for_them(
    always: bool, asked: str | None, splices: bool, shown: bool
) -> None:
    comments = ProgressComments(lambda _id, _model: None, always=always)

    assert shown is comments.are_for(asked, Client(splices=splices), OPENAI)


HELD = TicketProgress(position=3, seconds=2.0, is_held=True)


def hold(wait: Callable[[Client], Awaitable[None]]) -> Client:
    """Have a stream wait for something before it enters the queue."""

    async def scene() -> Client:
        client, record = Client(), Exchanges(SystemClock()).begin("r1", "/v1/completions")
        comments = ProgressComments(lambda *_: None, first_seconds=0.0, every_seconds=0.001)
        async with asyncio.timeout(60):
            await comments.wait_for(wait(client), (client, OPENAI, {}), record, lambda: HELD)
        return client

    return asyncio.run(scene())


async def until_commented(client: Client) -> None:
    await client.commented.wait()


def test_a_stream_that_its_key_holds_back_gets_comments_too() -> None:
    client = hold(until_commented)

    assert client.written.startswith(b": relayd position=3 state=key-limit seconds=2.0\n\n")
    assert [200] == client.statuses


def test_a_stream_whose_turn_comes_at_once_gets_none() -> None:
    async def at_once(_client: Client) -> None:
        pass

    assert b"" == hold(at_once).written


def test_a_turn_that_does_not_come_is_an_error_as_ever() -> None:
    async def too_long(client: Client) -> None:
        await client.commented.wait()
        raise QueueTimeoutError("it waited too long")

    with pytest.raises(QueueTimeoutError):
        hold(too_long)

"""Whatever becomes of a request, exactly one exchange says so."""

import asyncio
import json

import pytest

from relayd.clock import SystemClock
from relayd.errors import StoppingError
from relayd.router import ENDING, STOPPED, Exchanges
from relayd.scheduler import Ask, Ended, Exchange, Usage
from tests.fakes.replica import (
    DONE,
    LAST_CHUNK,
    SSE_HEAD,
    Act,
    Then,
    act,
    chunk,
    event,
    head,
    json_answer,
    refusal,
    said,
)
from tests.router.front import STREAM, UNCONTINUED, Front, Opener, Places, post, status

pytestmark = [pytest.mark.fake, pytest.mark.usefixtures("runner")]

TIMINGS = {"cache_n": 30, "prompt_n": 12, "prompt_ms": 7.5, "predicted_n": 5, "predicted_ms": 40.0}
USAGE = {"prompt_tokens": 42, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 30}}
COST = Usage(42, 30, 5, 7.5, 40.0)

GOOD = act(json_answer(json.dumps({"choices": [], "usage": USAGE, "timings": TIMINGS}).encode()))


def last_event(**members: object) -> bytes:
    return b"data: %b\n\n" % json.dumps({"choices": [], **members}).encode()


EVENTS = (event(1), last_event(usage=USAGE, timings=TIMINGS), DONE)
GOOD_STREAM = act(SSE_HEAD + b"".join(map(chunk, EVENTS)) + LAST_CHUNK)


def only(here: Front) -> Exchange:
    (exchange,) = here.exchanges.recent()
    assert [exchange] == here.places.finished, "the scheduler got another one"
    return exchange


@pytest.mark.parametrize(("answer", "body"), [(GOOD, b"{}"), (GOOD_STREAM, STREAM)], ids=["whole", "stream"])
async def test_an_answer_that_is_complete_is_done_and_costs_what_the_engine_says(
    front: Opener, answer: Act, body: bytes
) -> None:
    async with front([answer]) as here:
        raw = await here.ask(post(body))
        exchange = only(here)

    assert (Ended.DONE, 200, 1, "fake#0") == (
        exchange.ended,
        exchange.status,
        exchange.attempts,
        exchange.replica,
    )
    assert COST == exchange.usage
    assert len(raw) == exchange.sent_bytes
    assert ("request-7", "/v1/chat/completions", "team") == (
        exchange.request_id,
        exchange.path,
        exchange.ask.key,
    )


async def test_times_are_in_order(front: Opener) -> None:
    async with front([GOOD]) as here:
        await here.ask(post())
        exchange = only(here)

    times = [
        exchange.arrived_at,
        exchange.queued_at,
        exchange.placed_at,
        exchange.first_byte_at,
        exchange.ended_at,
    ]
    assert all(times)
    assert times == sorted(times, key=lambda each: each or 0.0)


async def test_a_request_that_failed_elsewhere_first_took_two_attempts(front: Opener) -> None:
    async with front([act(then=Then.CLOSE)], [GOOD]) as here:
        await here.ask(post())
        exchange = only(here)

    assert (Ended.DONE, 2) == (exchange.ended, exchange.attempts)


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        (act(refusal(400, "exceed_context_size_error", "too long")), 400, "exceed_context_size_error"),
        (act(then=Then.CLOSE), 502, "upstream_failed"),
        (act(refusal(401, "authentication_error")), 502, "upstream_failed"),
    ],
    ids=["by the engine", "by the scheduler", "by relayd"],
)
async def test_a_refusal_names_status_and_code(front: Opener, script: Act, status: int, code: str) -> None:
    async with front([script]) as here:
        await here.ask(post())
        exchange = only(here)

    assert (Ended.REFUSED, status, code) == (exchange.ended, exchange.status, exchange.code)
    assert exchange.usage is None


async def test_a_body_that_cannot_be_read_is_refused_before_it_asks_for_a_slot(front: Opener) -> None:
    async with front([GOOD]) as here:
        await here.ask(post(b"{"))
        (exchange,) = here.exchanges.recent()

    assert (Ended.REFUSED, 400, "invalid_request", None) == (
        exchange.ended,
        exchange.status,
        exchange.code,
        exchange.queued_at,
    )


@pytest.mark.parametrize("rest", [b"", b'20\r\ndata: {"n"'], ids=["between events", "within one"])
async def test_a_stream_whose_replica_fails_is_cut(front: Opener, rest: bytes) -> None:
    async with front([act(SSE_HEAD + chunk(event(1)) + rest, then=Then.CLOSE)]) as here:
        await here.ask(post(STREAM))
        exchange = only(here)

    assert (Ended.CUT, 200) == (exchange.ended, exchange.status)


@pytest.mark.parametrize(
    "parts", [(), (SSE_HEAD,), (SSE_HEAD, chunk(event(1)))], ids=["queued", "prefill", "stream"]
)
async def test_a_client_that_leaves_cancels_its_request(front: Opener, parts: tuple[bytes, ...]) -> None:
    async with front([act(*parts, then=Then.HANG)]) as here:
        ended = asyncio.Event()
        here.exchanges.listen(lambda _: ended.set())
        _, writer = await here.connect()
        writer.write(post(STREAM))
        await here.replicas[0].asked.wait()

        writer.transport.abort()
        await ended.wait()

        assert Ended.CANCELLED is only(here).ended


async def test_a_client_that_reads_nothing_cancels_its_request(front: Opener) -> None:
    flood = act(SSE_HEAD, *[chunk(b"x" * (1 << 20))] * 64)
    ended = asyncio.Event()

    async with front([flood], stall_seconds=0.05) as here:
        here.exchanges.listen(lambda _: ended.set())
        _, writer = await here.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # an asyncio.Transport
        writer.write(post(STREAM))
        await ended.wait()
        writer.transport.abort()

        assert Ended.CANCELLED is only(here).ended


async def test_a_fault_of_relayd_itself_is_an_internal_error(front: Opener) -> None:
    async with front([act(then=Then.CLOSE)]) as here:

        def report(_reason: str) -> None:
            raise ZeroDivisionError

        here.report = report
        await here.ask(post())
        exchange = only(here)

    assert (Ended.REFUSED, 500, "internal_error") == (exchange.ended, exchange.status, exchange.code)


async def test_the_last_thousand_are_kept(front: Opener) -> None:
    async with front([GOOD]) as here:
        for number in range(1005):
            with here.exchanges.begin(str(number), "/"):
                pass

        assert [str(number) for number in range(5, 1005)] == [
            one.request_id for one in here.exchanges.recent()
        ]


async def test_an_embedding_names_its_tokens_before_its_vectors(front: Opener) -> None:
    answer = b'{"object":"list","usage":{"prompt_tokens":6,"total_tokens":6},"data":[%b]}' % (b"0," * 50_000)

    async with front([act(head(f"Content-Length: {len(answer)}") + answer)]) as here:
        await here.ask(post())

        assert Usage(prompt_tokens=6) == only(here).usage


async def test_an_answer_for_a_client_of_http_1_0_costs_the_same(front: Opener) -> None:
    async with front([GOOD_STREAM]) as here:
        await here.ask(post(STREAM, version="1.0", close=False))

        assert COST == only(here).usage


@pytest.mark.parametrize(
    ("parts", "code"),
    [((), 503), ((SSE_HEAD, chunk(event(1))), 200)],
    ids=["before its answer", "within it"],
)
async def test_a_request_that_outlasts_the_daemon_learns_why(
    front: Opener, parts: tuple[bytes, ...], code: int
) -> None:
    async with front([act(*parts, then=Then.HANG)]) as here:
        reader, writer = await here.connect()
        writer.write(post(STREAM))
        await here.replicas[0].asked.wait()
        seen = await reader.readuntil(event(1)) if parts else b""

        here.places.dispatcher.close(ENDING)
        raw = seen + await reader.read()
        writer.close()
        exchange = only(here)

    assert code == status(raw)
    assert b'"code":"server_stopping"' in raw.replace(b" ", b"")
    assert b"[DONE]" not in raw
    assert (Ended.CUT if parts else Ended.REFUSED, "server_stopping") == (exchange.ended, exchange.code)
    assert [] == here.faults


async def test_an_answer_of_a_replica_that_is_stopped_ends_with_the_reason(front: Opener) -> None:
    async with front([act(SSE_HEAD, chunk(said("1")), then=Then.HANG)], [GOOD_STREAM]) as here:
        reader, writer = await here.connect()
        writer.write(post(UNCONTINUED))
        seen = await reader.readuntil(said("1"))
        here.places.dispatcher.interrupt_on(here.endpoints[1], STOPPED)
        here.places.dispatcher.interrupt_on(here.endpoints[0], STOPPED)
        raw = seen + await reader.read()
        writer.close()
        exchange = only(here)

    assert b'"code":"replica_stopped"' in raw.replace(b" ", b"")
    assert b"[DONE]" not in raw
    assert (Ended.CUT, "replica_stopped", []) == (exchange.ended, exchange.code, here.faults)


async def test_a_request_that_has_no_byte_of_a_stopped_replica_goes_elsewhere(front: Opener) -> None:
    ended = asyncio.Event()
    async with front([act(ended, then=Then.CLOSE)], [GOOD_STREAM]) as here:
        reader, writer = await here.connect()
        writer.write(post(STREAM))
        await here.replicas[0].asked.wait()
        here.places.dispatcher.interrupt_on(here.endpoints[0], STOPPED)
        ended.set()
        raw = await reader.readuntil(b"[DONE]")
        writer.close()

    assert 200 == status(raw)


async def test_a_request_that_comes_after_the_end_was_announced_is_refused(front: Opener) -> None:
    async with front([GOOD_STREAM]) as here:
        places, record = Places(*here.endpoints), Exchanges(SystemClock()).begin("r", "/")
        places.dispatcher.close(ENDING)
        with places.dispatcher.open(Ask("m"), record) as lease, pytest.raises(StoppingError):
            await lease.placed()

    assert ([], 0) == (here.replicas[0].requests, places.dispatcher.open_count)


async def test_a_cut_stream_counts_the_event_that_says_so(front: Opener) -> None:
    async with front([act(SSE_HEAD + chunk(event(1)), then=Then.CLOSE)]) as here:
        raw = await here.ask(post(STREAM))
        exchange = only(here)

    assert (len(raw), "upstream_failed") == (exchange.sent_bytes, exchange.code)

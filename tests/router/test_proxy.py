"""What becomes of a request when replicas fail, at every point where they can?"""

import json
from pathlib import Path

import pytest

from relayd.endpoint import Endpoint, UnixAddress
from relayd.secret import Secret
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
from tests.router.front import LANE_ONLY, STREAM, UNCONTINUED, Opener, body, fields, post, status

pytestmark = [pytest.mark.fake, pytest.mark.usefixtures("runner")]

GOOD = act(json_answer(b'{"ok":true}'))
GOOD_STREAM = act(SSE_HEAD + chunk(event(1)) + chunk(DONE) + LAST_CHUNK)
NOWHERE = Endpoint(UnixAddress(Path("/nowhere/to/be/found.sock")), Secret("k"), "gone#0", 1)


BEFORE_THE_FIRST_BYTE = {
    "closed at once": act(then=Then.CLOSE),
    "reset at once": act(then=Then.RESET),
    "closed within the head": act(b"HTTP/1.1 200 OK\r\nContent-", then=Then.CLOSE),
    "closed in prefill": act(SSE_HEAD, then=Then.CLOSE),
    "loading": act(refusal(503, "unavailable_error", "Loading model")),
    "500": act(refusal(500, "server_error", "Compute error.")),
    "garbage": act(b"\x00\x01\x02 what is this\r\n\r\n"),
    "an endless head": act(head("X-Long: " + "a" * 40_000)),
    "a first chunk without a size": act(SSE_HEAD + b"zz\r\nwhat\r\n"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("first", BEFORE_THE_FIRST_BYTE.values(), ids=BEFORE_THE_FIRST_BYTE)
async def test_a_request_that_failed_before_its_first_byte_goes_elsewhere(
    front: Opener, first: Act, stream: bool
) -> None:
    async with front([first], [GOOD_STREAM if stream else GOOD]) as here:
        raw = await here.ask(post(STREAM if stream else b"{}"))

        assert status(raw) == 200
        assert body(raw).endswith(LAST_CHUNK if stream else b'{"ok":true}')
        assert here.places.returns == 1
        assert len(here.faults) == 1


@pytest.mark.parametrize("cut", [b'{"o', b""], ids=["within its body", "before its body"])
async def test_an_unstreamed_answer_that_was_cut_is_asked_for_elsewhere(front: Opener, cut: bytes) -> None:
    async with front([act(head("Content-Length: 11") + cut, then=Then.CLOSE)], [GOOD]) as here:
        assert body(await here.ask(post())) == b'{"ok":true}'


async def test_a_replica_without_a_socket_is_passed_over(front: Opener) -> None:
    async with front([GOOD]) as here:
        here.endpoints.insert(0, NOWHERE)

        assert status(await here.ask(post())) == 200
        assert here.places.returns == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, "invalid_request_error"),
        (404, "not_found_error"),
        (413, "invalid_request_error"),
        (501, "not_supported_error"),
    ],
)
async def test_a_refusal_is_final(front: Opener, code: int, kind: str) -> None:
    async with front([act(refusal(code, kind, "why"))], [GOOD]) as here:
        raw = await here.ask(post())

        assert status(raw) == code
        assert json.loads(body(raw))["error"] == {"code": kind, "message": "why", "type": kind, "param": None}
        assert fields(raw)["x-request-id"] == "request-7"
        assert here.places.returns == 0


async def test_a_context_that_is_too_small_keeps_what_the_engine_says_of_it(front: Opener) -> None:
    extra = ',"n_prompt_tokens":9000,"n_ctx":4096'

    async with front([act(refusal(400, "exceed_context_size_error", "too long", extra=extra))]) as here:
        error = json.loads(body(await here.ask(post())))["error"]

        assert error["code"] == "context_length_exceeded"
        assert (error["n_prompt_tokens"], error["n_ctx"]) == (9000, 4096)


async def test_a_second_5xx_is_the_answer(front: Opener) -> None:
    async with front(
        [act(refusal(500, "server_error", "Compute error."))],
        [act(refusal(500, "server_error", "decode() failed: again"))],
        [GOOD],
    ) as here:
        raw = await here.ask(post())

        assert status(raw) == 500
        assert json.loads(body(raw))["error"]["message"] == "decode() failed: again"


async def test_a_second_answer_that_is_not_http_is_the_last(front: Opener) -> None:
    nonsense = act(b"nonsense\r\n\r\n")

    async with front([nonsense], [nonsense], [GOOD]) as here:
        raw = await here.ask(post())

        assert status(raw) == 502
        assert json.loads(body(raw))["error"]["code"] == "upstream_failed"


async def test_replicas_that_load_are_left_as_often_as_the_schedule_allows(front: Opener) -> None:
    loading = act(refusal(503, "unavailable_error", "Loading model"))

    async with front([loading], [loading], [loading], [GOOD]) as here:
        assert status(await here.ask(post())) == 200
        assert here.places.returns == 3


async def test_a_replica_that_refuses_the_key_of_relayd_is_not_the_fault_of_the_client(front: Opener) -> None:
    locked = act(refusal(401, "authentication_error", "Invalid API Key"))

    async with front([locked], [GOOD]) as here:
        assert status(await here.ask(post())) == 200
        assert here.faults == ["The replica refuses relayd's key."]
    async with front([locked], [locked], [GOOD]) as here:
        assert status(await here.ask(post())) == 502


async def test_r25_a_redirect_is_not_followed_and_not_passed_on(front: Opener) -> None:
    redirect = act(head("Location: http://elsewhere/", "Content-Length: 0", status="302 Found"))

    async with front([redirect], [redirect]) as here:
        raw = await here.ask(post())

        assert status(raw) == 502
        assert b"elsewhere" not in raw


BETWEEN_EVENTS = {
    "closed": act(SSE_HEAD + chunk(said("1")), then=Then.CLOSE),
    "reset": act(SSE_HEAD + chunk(said("1")), then=Then.RESET),
    "within a chunk": act(SSE_HEAD + chunk(said("1")) + b'20\r\ndata: {"n"', then=Then.CLOSE),
    "within the size of a chunk": act(SSE_HEAD + chunk(said("1")) + b"2", then=Then.CLOSE),
    "at once within a chunk": act(SSE_HEAD, chunk(said("1")) + b"2", then=Then.RESET),
}


@pytest.mark.parametrize("cut", BETWEEN_EVENTS.values(), ids=BETWEEN_EVENTS)
async def test_a_stream_cut_between_events_ends_with_one_that_says_so(front: Opener, cut: Act) -> None:
    async with front([cut], [GOOD_STREAM]) as here:
        raw = await here.ask(post(UNCONTINUED))

        first, _, last = body(raw).partition(chunk(said("1")))
        assert first == b""
        assert json.loads(last.split(b"data: ")[1])["error"]["code"] == "upstream_failed"
        assert not raw.endswith(LAST_CHUNK)
        assert b"[DONE]" not in raw
        assert here.places.returns == 0
        assert len(here.faults) == 1


WITHIN_AN_EVENT = {
    "an event of two chunks": SSE_HEAD + chunk(event(1)) + chunk(b"data: "),
    "a body of a known length": head("Content-Type: text/event-stream", "Content-Length: 99") + event(1),
}


@LANE_ONLY
@pytest.mark.parametrize("cut", WITHIN_AN_EVENT.values(), ids=WITHIN_AN_EVENT)
async def test_a_stream_cut_within_an_event_is_cut_for_the_client_too(front: Opener, cut: bytes) -> None:
    async with front([act(cut, then=Then.CLOSE)], [GOOD_STREAM]) as here:
        raw = await here.ask(post(STREAM))

        assert body(raw) == body(cut)
        assert here.places.returns == 0


async def test_a_broken_chunk_ends_the_stream(
    front: Opener,
) -> None:
    broken = act(SSE_HEAD + chunk(event(1)), b"5\r\nmore than five\r\n")

    async with front([broken]) as here:
        raw = await here.ask(post(STREAM))

        assert not raw.endswith(LAST_CHUNK)
        assert here.faults


async def test_events_that_end_with_their_connection_need_their_last_one(front: Opener) -> None:
    answer = head("Content-Type: text/event-stream") + event(1)

    async with front([act(answer + DONE, then=Then.CLOSE), act(answer, then=Then.CLOSE)]) as here:
        whole, cut = await here.ask(post(STREAM)), await here.ask(post(STREAM))

        assert body(whole) == chunk(event(1) + DONE) + LAST_CHUNK
        assert b"upstream_failed" in cut
        assert not cut.endswith(LAST_CHUNK)


async def test_a_stream_that_falls_silent_ends(front: Opener) -> None:
    silent = act(SSE_HEAD + chunk(event(1)), then=Then.HANG)

    async with front([silent], silence_seconds=0.05) as here:
        raw = await here.ask(post(STREAM))

        assert b"upstream_failed" in raw
        assert "silent" in here.faults[0]


async def test_a_stream_that_never_begins_goes_elsewhere(front: Opener) -> None:
    async with front([act(then=Then.HANG)], [GOOD_STREAM], silence_seconds=0.05) as here:
        assert status(await here.ask(post(STREAM))) == 200


@pytest.mark.parametrize(
    "prefill", [(), (SSE_HEAD,), (SSE_HEAD, chunk(event(1)))], ids=["queued", "prefill", "stream"]
)
async def test_r36_a_client_that_leaves_ends_its_request(front: Opener, prefill: tuple[bytes, ...]) -> None:
    async with front([act(*prefill, then=Then.HANG)]) as here:
        replica = here.replicas[0]
        _, writer = await here.connect()
        writer.write(post(STREAM))
        await replica.asked.wait()

        writer.close()

        await replica.left.wait()


async def test_a_client_that_leaves_an_unstreamed_request_ends_it(front: Opener) -> None:
    async with front([act(then=Then.HANG)]) as here:
        _, writer = await here.connect()
        writer.write(post())
        await here.replicas[0].asked.wait()

        writer.transport.abort()

        await here.replicas[0].left.wait()

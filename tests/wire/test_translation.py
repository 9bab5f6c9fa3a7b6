"""Do requests of the router become messages, and messages an answer that it reads?"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.remote.modelrelay.messages import ResponseComplete, WorkerRequest
from relayd.remote.modelrelay.translation import NotForwarded, WorkerAnswer, WorkerRequestReader, message_of
from relayd.router.framing import Chunked
from relayd.router.headers import parse_head
from tests.wire.stage import STREAMED, post

pytestmark = pytest.mark.pure

EVENT = 'data: {"choices":[{"delta":{"content":"😀"}}]}\n\n'


def message(request: bytes) -> WorkerRequest | NotForwarded:
    found = WorkerRequestReader().feed(request)
    assert found is not None
    return message_of(*found, "r-1")


def forwarded(request: bytes) -> WorkerRequest:
    found = message(request)
    assert isinstance(found, WorkerRequest)
    return found


def body_of(data: bytes) -> bytes:
    head, _, rest = data.partition(b"\r\n\r\n")
    pieces: list[bytes] = []
    framing = parse_head(head).framing(pieces)
    assert framing.feed(rest) == len(rest)
    assert framing.over
    return b"".join(pieces)


def test_c60_the_body_is_the_one_that_the_router_wrote() -> None:
    body = '{"model": "m",  "messages":[{"role":"user","content":"ü😀\\u00e9"}],"x":1e3}'.encode()

    assert forwarded(post(body)).body.encode() == body


def test_a_request_names_its_model_its_path_and_whether_it_streams() -> None:
    found = forwarded(post(STREAMED, "/v1/messages"))

    assert (found.model, found.endpoint_path, found.is_streaming) == ("m", "/v1/messages", True)
    assert forwarded(post(b'{"model":"m","stream":null}')).is_streaming is False


def test_c74_credentials_and_fields_of_one_connection_stay_here() -> None:
    fields = [
        "Authorization: Bearer secret", "Cookie: a=b", "X-Api-Key: k", "Proxy-Authorization: x",
        "X-Request-ID: r-9", "anthropic-version: 2023-06-01", "traceparent: 00-ab",
    ]  # fmt: skip

    assert forwarded(post(b'{"model":"m"}', "/v1/x", *fields)).headers == {
        "x-request-id": "r-9",
        "anthropic-version": "2023-06-01",
        "traceparent": "00-ab",
        "content-type": "application/json",
    }


@given(st.lists(st.integers(min_value=1, max_value=80), max_size=30))
def test_requests_are_read_whole_however_they_are_cut(cuts: list[int]) -> None:
    first, second = post(b'{"model":"a"}'), post(b'{"model":"b","stream":true}')
    data, reader, found = first + second, WorkerRequestReader(), []
    for size in [*cuts, len(data)]:
        part, data = data[:size], data[size:]
        if part and (request := reader.feed(part)):
            found.append(request[1])
        if request := reader.feed(b""):
            found.append(request[1])

    assert found == [b'{"model":"a"}', b'{"model":"b","stream":true}']


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /props HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (post(b"\xff\xfe"), 415),
        (post(b"--boundary"), 415),
        (post(b'{"model":"m","x":"' + b"a" * (15 << 20) + b'"}'), 413),
    ],
    ids=["GET", "not UTF-8", "not JSON", "too long"],
)
def test_what_the_protocol_cannot_carry_is_refused(request_bytes: bytes, status: int) -> None:
    found = message(request_bytes)

    assert isinstance(found, NotForwarded)
    assert found.status == status


def test_c61_status_fields_and_body_of_a_plain_answer_pass_on() -> None:
    headers = {"content-type": "application/json", "x-queue": "3", "content-length": "999"}
    data = WorkerAnswer(is_streaming=False).complete(ResponseComplete("r", 429, headers, '{"error":1}'))
    head = parse_head(data.partition(b"\r\n\r\n")[0])

    assert (head.status, head.length) == (429, 11)
    assert head.passing == (("Content-Type", "application/json"), ("X-Queue", "3"))
    assert body_of(data) == b'{"error":1}'


@pytest.mark.parametrize(
    "fields",
    [
        {"x-a": "1\r\nx-evil: 2"},
        {"x-a\r\nx-evil": "2"},
        {"": "x"},
        {"x-ü": "1"},
        {"transfer-encoding": "chunked"},
    ],
)
def test_fields_that_would_be_read_as_something_else_are_left_out(fields: dict[str, str]) -> None:
    data = WorkerAnswer(is_streaming=False).complete(ResponseComplete("r", 200, fields, "{}"))

    assert parse_head(data.partition(b"\r\n\r\n")[0]).passing == ()
    assert body_of(data) == b"{}"


@pytest.mark.parametrize(
    ("status", "shown"), [(0, 502), (101, 502), (199, 502), (200, 200), (599, 599), (999, 502)]
)
def test_a_status_that_is_not_one_is_502(status: int, shown: int) -> None:
    data = WorkerAnswer(is_streaming=False).complete(ResponseComplete("r", status, {}, "{}"))

    assert parse_head(data.partition(b"\r\n\r\n")[0]).status == shown


def test_c62_events_pass_on_as_they_come_in_one_chunk_each() -> None:
    answer = WorkerAnswer(is_streaming=True)
    first, second = answer.chunk(EVENT), answer.chunk(EVENT)
    end = answer.complete(ResponseComplete("r", 200, {}, ""))

    assert first.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
    assert second == b"%x\r\n%b\r\n" % (len(EVENT.encode()), EVENT.encode())
    assert end == b"0\r\n\r\n"
    assert body_of(first + second + end).decode() == EVENT * 2


@given(st.lists(st.integers(min_value=1, max_value=60), max_size=40))
def test_c62_a_stream_is_whole_however_the_worker_cuts_it(cuts: list[int]) -> None:
    text = ": comment\n\n" + EVENT * 3 + "event: x\r\ndata: 1\r\n\r\ndata: [DONE]\n\n"
    rest, answer, data = text, WorkerAnswer(is_streaming=True), b""
    for size in cuts:
        part, rest = rest[:size], rest[size:]
        data += answer.chunk(part) if part else b""
    data += answer.chunk(rest) + answer.complete(ResponseComplete("r", 200, {}, ""))

    assert body_of(data).decode() == text


@given(st.integers(min_value=1, max_value=len(EVENT) * 2 - 1))
def test_a_chunk_of_http_ends_with_an_event(cut: int) -> None:
    text = EVENT * 2
    answer = WorkerAnswer(is_streaming=True)
    data = answer.chunk(text[:cut])
    pieces: list[bytes] = []
    Chunked(pieces).feed(data.partition(b"\r\n\r\n")[2])

    assert b"".join(pieces).decode() in ("", EVENT)


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
@pytest.mark.parametrize("cuts", [1, 3, 1000])
def test_c63_a_refused_stream_keeps_its_status_although_its_body_comes_first(status: int, cuts: int) -> None:
    body = json.dumps({"error": {"message": "data: no"}})
    answer = WorkerAnswer(is_streaming=True)
    data = b"".join(answer.chunk(body[at : at + cuts]) for at in range(0, len(body), cuts))
    data += answer.complete(ResponseComplete("r", status, {"content-type": "application/json"}, ""))

    assert parse_head(data.partition(b"\r\n\r\n")[0]).status == status
    assert body_of(data).decode() == body


def test_c65_an_event_of_a_mebibyte_passes() -> None:
    text = "data: " + "x" * (1 << 20) + "\n\n"
    answer = WorkerAnswer(is_streaming=True)
    data = b"".join(answer.chunk(text[at : at + 65536]) for at in range(0, len(text), 65536))
    data += answer.complete(ResponseComplete("r", 200, {}, ""))

    assert body_of(data).decode() == text


def test_c67_an_answer_without_status_is_not_held_without_limit() -> None:
    answer = WorkerAnswer(is_streaming=True)
    for _ in range(64):
        answer.chunk("x" * 65536)

    with pytest.raises(ValueError, match="no event and no status"):
        answer.chunk("x")


def test_what_comes_after_the_end_is_dropped() -> None:
    answer = WorkerAnswer(is_streaming=True)
    answer.chunk(EVENT)
    answer.complete(ResponseComplete("r", 200, {}, ""))

    assert (answer.chunk(EVENT), answer.complete(ResponseComplete("r", 200, {}, ""))) == (b"", b"")


def test_an_empty_stream_is_an_empty_answer() -> None:
    data = WorkerAnswer(is_streaming=True).complete(ResponseComplete("r", 204, {}, ""))

    assert parse_head(data.partition(b"\r\n\r\n")[0]).status == 204

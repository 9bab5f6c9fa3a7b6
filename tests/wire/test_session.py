"""What does a hub send one worker, and what do the router's connections get of it?"""

import pytest

from relayd.errors import InvalidMessageError
from relayd.remote.modelrelay.session import LEFT_SECONDS
from tests.wire.stage import STREAMED, Stage, post

pytestmark = pytest.mark.pure

EVENT = 'data: {"x":1}\n\n'


def test_a_request_is_sent_at_once_and_its_answer_comes_back() -> None:
    stage = Stage()
    _, end = stage.ask(post(b'{"model":"m"}'))

    stage.complete('{"ok":true}', content_type="application/json")

    assert stage.wire.of("request")[0]["body"] == '{"model":"m"}'
    assert (end.status, end.payload, end.is_lost) == (200, b'{"ok":true}', False)


def test_a_connection_carries_one_request_after_the_other() -> None:
    stage = Stage()
    connection, end = stage.ask()
    stage.complete("1")

    connection.write(post())
    stage.complete("2")

    assert len(set(stage.requests)) == 2
    assert end.data.count(b"HTTP/1.1 200") == 2


def test_c62_chunks_pass_on_before_the_answer_is_over() -> None:
    stage = Stage()
    _, end = stage.ask(post(STREAMED))

    stage.chunk(EVENT)

    assert end.payload == EVENT.encode()
    stage.chunk("data: [DONE]\n\n")
    stage.complete("")
    assert end.data.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_c2_requests_beyond_the_slots_wait_and_are_sent_in_order() -> None:
    stage = Stage(slots=1)
    for number in range(3):
        stage.ask(post(b'{"model":"m","n":%d}' % number))
    sent = stage.wire.of("request")
    assert len(sent) == 1

    stage.complete(request=0)
    stage.complete(request=1)

    assert [frame["body"][-2] for frame in stage.wire.of("request")] == ["0", "1", "2"]


def test_c6_a_request_that_waits_is_withdrawn_without_a_cancel() -> None:
    stage = Stage(slots=1)
    stage.ask()
    connection, end = stage.ask()

    connection.write_eof()
    stage.loop.advance()
    stage.complete()

    assert end.is_lost
    assert len(stage.requests) == 1
    assert stage.wire.of("cancel") == []


@pytest.mark.parametrize("body", [STREAMED, b'{"model":"m"}'], ids=["streamed", "plain"])
@pytest.mark.parametrize("begun", [False, True])
def test_c20_c21_a_client_that_leaves_cancels_its_request(body: bytes, begun: bool) -> None:
    stage = Stage()
    connection, _ = stage.ask(post(body))
    if begun and body is STREAMED:
        stage.chunk(EVENT)

    connection.write_eof()

    assert stage.wire.of("cancel") == [
        {"type": "cancel", "request_id": stage.requests[0], "reason": "client_disconnect"}
    ]


def test_c22_there_is_one_cancel_for_a_request() -> None:
    stage = Stage()
    connection, _ = stage.ask()

    connection.write_eof()
    connection.write_eof()
    connection.abort()
    connection.close()

    assert len(stage.wire.of("cancel")) == 1


def test_c23_what_comes_after_a_cancel_or_has_no_request_is_dropped() -> None:
    stage = Stage()
    connection, end = stage.ask(post(STREAMED))
    connection.write_eof()

    stage.chunk(EVENT)
    stage.receive("response_chunk", request_id="never", chunk=EVENT)
    stage.receive("response_complete", request_id="never", status_code=200)
    stage.receive("error", request_id="never", code="x", message="x")

    assert end.data == b""
    assert stage.wire.closed is None


def test_c24_a_cancelled_request_frees_its_slot_after_a_moment() -> None:
    stage = Stage(slots=1)
    connection, end = stage.ask()
    stage.ask()
    connection.write_eof()
    stage.loop.advance(LEFT_SECONDS - 0.1)
    assert (len(stage.requests), end.is_lost) == (1, False)

    stage.loop.advance(0.1)

    assert (len(stage.requests), end.is_lost) == (2, True)


def test_c24_it_frees_it_at_once_when_the_worker_completes_it() -> None:
    stage = Stage(slots=1)
    connection, end = stage.ask()
    stage.ask()
    connection.write_eof()

    stage.complete(status=499, request=0)
    stage.loop.advance()

    assert (len(stage.requests), end.is_lost) == (2, True)


def test_c24_it_frees_it_when_the_worker_reports_a_lower_load() -> None:
    stage = Stage(slots=2)
    connection, end = stage.ask()
    stage.ask()
    connection.write_eof()

    stage.receive("pong", current_load=2)
    stage.loop.advance()
    assert not end.is_lost

    stage.receive("pong", current_load=1)
    stage.loop.advance()
    assert end.is_lost


def test_c10_c11_a_lost_worker_ends_every_request_of_its_own() -> None:
    stage = Stage(slots=1)
    ends = [stage.ask()[1] for _ in range(3)]

    stage.session.lost("its connection was closed")
    stage.loop.advance()

    assert [type(end.error) for end in ends] == [ConnectionResetError] * 3
    assert repr(stage.session).endswith("waiting=0 running=0 left=0 of 1 slots>")


def test_c14_an_answer_that_breaks_off_is_not_made_to_end() -> None:
    stage = Stage()
    _, end = stage.ask(post(STREAMED))
    stage.chunk(EVENT)

    stage.session.lost("its connection was closed")
    stage.loop.advance()

    assert not end.data.endswith(b"0\r\n\r\n")
    assert isinstance(end.error, ConnectionResetError)


def test_c16_an_error_ends_one_request_and_no_other() -> None:
    stage = Stage(slots=2)
    _, failed = stage.ask()
    _, other = stage.ask()

    stage.receive("error", request_id=stage.requests[0], code="upstream_error", message="refused")
    stage.loop.advance()
    stage.complete("{}")

    assert (failed.status, other.status) == (502, 200)
    assert b"refused" in failed.payload


def test_c16_an_error_in_mid_stream_breaks_the_answer_off() -> None:
    stage = Stage()
    _, end = stage.ask(post(STREAMED))
    stage.chunk(EVENT)

    stage.receive("error", request_id=stage.requests[0], code="upstream_error", message="gone")
    stage.loop.advance()

    assert isinstance(end.error, ConnectionResetError)


def test_c33_load_that_is_not_this_hubs_takes_slots() -> None:
    stage = Stage(slots=4)
    stage.ask()

    stage.receive("pong", current_load=3)
    assert stage.session.free_for("m") == 4
    stage.loop.advance(1.0)
    assert stage.wire.of("ping") == [{"type": "ping"}]
    stage.receive("pong", current_load=3)

    assert stage.session.free_for("m") == 2


def test_c33_a_load_that_crosses_with_the_end_of_a_request_takes_none() -> None:
    stage = Stage(slots=1)
    stage.ask()
    stage.complete()

    stage.receive("pong", current_load=1)
    stage.receive("pong", current_load=0)

    assert stage.session.free_for("m") == 1


def test_models_of_a_worker_share_its_slots() -> None:
    stage = Stage(slots=3, models=("m", "n"))
    stage.ask()
    stage.ask()

    assert (stage.session.free_for("m"), stage.session.free_for("n")) == (3, 1)
    assert stage.changes == 2


def test_c54_a_models_update_changes_what_the_worker_serves() -> None:
    stage = Stage()

    stage.receive("models_update", models=["n"], current_load=0)

    assert stage.session.accepted.models == ("n",)
    assert stage.changes == 1


def test_c40_c42_an_idle_worker_is_closed_at_once_by_a_drain() -> None:
    stage = Stage()

    stage.session.drain(30, "maintenance")

    assert stage.wire.of("graceful_shutdown") == [
        {"type": "graceful_shutdown", "reason": "maintenance", "drain_timeout_secs": 30}
    ]
    assert stage.wire.closed == (1000, "graceful shutdown complete")


def test_c40_a_draining_worker_ends_what_it_has_and_gets_nothing_more() -> None:
    stage = Stage(slots=1)
    _, running = stage.ask()
    _, waiting = stage.ask()
    stage.session.drain(30, "maintenance")
    _, late = stage.ask()
    stage.loop.advance()
    assert stage.wire.closed is None

    stage.complete("{}")

    assert running.status == 200
    assert [type(end.error) for end in (waiting, late)] == [ConnectionRefusedError] * 2
    assert len(stage.requests) == 1
    assert stage.wire.closed == (1000, "graceful shutdown complete")


def test_c41_what_runs_at_the_deadline_of_a_drain_ends() -> None:
    stage = Stage()
    _, end = stage.ask()
    stage.session.drain(30, "maintenance")

    stage.loop.advance(30)

    assert stage.wire.closed == (1000, "graceful shutdown timed out")
    assert isinstance(end.error, ConnectionResetError)


def test_c66_a_reader_that_is_slow_is_cut_and_no_other_waits() -> None:
    stage = Stage(slots=2)
    connection, slow = stage.ask(post(STREAMED))
    _, other = stage.ask(post(STREAMED))
    connection.pause_reading()
    event = "data: " + "x" * 65536 + "\n\n"
    for _ in range(100):
        stage.chunk(event, request=0)
    stage.chunk(EVENT, request=1)
    stage.loop.advance()

    assert isinstance(slow.error, ConnectionAbortedError)
    assert stage.wire.of("cancel")[0]["request_id"] == stage.requests[0]
    assert other.payload == EVENT.encode()


def test_what_waits_for_a_slow_reader_passes_on_when_it_reads_again() -> None:
    stage = Stage()
    connection, end = stage.ask(post(STREAMED))
    stage.chunk(EVENT)
    connection.pause_reading()
    stage.chunk(EVENT)
    stage.complete("")
    assert end.payload == EVENT.encode()

    connection.resume_reading()
    stage.loop.advance()

    assert end.payload == 2 * EVENT.encode()
    assert end.data.endswith(b"0\r\n\r\n")


def test_what_the_protocol_cannot_carry_is_answered_here() -> None:
    stage = Stage()
    _, end = stage.ask(b"GET /props HTTP/1.1\r\nHost: localhost\r\n\r\n")

    stage.loop.advance()

    assert (end.status, stage.requests) == (404, [])


def test_a_frame_that_is_not_a_message_is_refused() -> None:
    with pytest.raises(InvalidMessageError):
        Stage().session.receive("{")

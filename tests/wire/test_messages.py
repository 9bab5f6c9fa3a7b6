"""Is every message of ModelRelay's protocol read and written, and is what is hostile refused?"""

import json
from typing import Any

import pytest

from relayd.errors import InvalidMessageError
from relayd.remote.modelrelay.messages import (
    SERVER_TYPES,
    WORKER_TYPES,
    CancelRequest,
    GracefulShutdown,
    ModelsRefresh,
    ModelsUpdate,
    Register,
    RegisterAck,
    ResponseChunk,
    ResponseComplete,
    WorkerFault,
    WorkerPing,
    WorkerPong,
    WorkerRequest,
    WorkerTokens,
    read_from_server,
    read_from_worker,
    write_message,
)

pytestmark = pytest.mark.pure

OF_WORKER = (
    Register("box", ["a", "b"], 2, "2026-04-bridge-v1", 1),
    Register("box", [], 1),
    ModelsUpdate(["a"], 0),
    ResponseChunk("r-1", 'data: {"x":"😀"}\n\n'),
    ResponseComplete("r-1", 200, {"content-type": "application/json"}, "{}", WorkerTokens(1, 2, 3)),
    ResponseComplete("r-1", 499),
    WorkerPong(3, 1700000000000),
    WorkerFault("upstream_error", "gone", "r-1"),
    WorkerFault("upstream_error", "gone"),
)

OF_SERVER = (
    RegisterAck("worker-1", ["a"], ["duplicate model dropped"], "2026-04-bridge-v1"),
    WorkerRequest("r-1", "a", "/v1/chat/completions", True, '{"model":"a"}', {"x-trace": "1"}),
    WorkerRequest("r-1", "a", "/v1/chat/completions", False, "{}"),
    CancelRequest("r-1", "client_disconnect"),
    CancelRequest("r-1", {"other": "why"}),
    WorkerPing(1700000000000),
    WorkerPing(),
    GracefulShutdown("maintenance", 30),
    ModelsRefresh(),
)


@pytest.mark.parametrize("message", OF_WORKER, ids=lambda one: type(one).__name__)
def test_what_a_worker_sends_is_read_as_it_was_written(message: Any) -> None:
    assert read_from_worker(write_message(message)) == message


@pytest.mark.parametrize("message", OF_SERVER, ids=lambda one: type(one).__name__)
def test_what_a_server_sends_is_read_as_it_was_written(message: Any) -> None:
    assert read_from_server(write_message(message)) == message


def test_the_types_are_those_of_the_protocol() -> None:
    assert WORKER_TYPES == {
        "register", "models_update", "response_chunk", "response_complete", "pong", "error",
    }  # fmt: skip
    assert SERVER_TYPES == {
        "register_ack", "request", "cancel", "ping", "graceful_shutdown", "models_refresh",
    }  # fmt: skip


def test_members_that_are_not_set_are_left_out_as_its_programs_do() -> None:
    assert json.loads(write_message(RegisterAck("worker-1", ["a"]))) == {
        "type": "register_ack",
        "worker_id": "worker-1",
        "models": ["a"],
    }
    assert json.loads(write_message(WorkerPing())) == {"type": "ping"}


def test_a_streamed_request_always_states_whether_it_streams() -> None:
    assert json.loads(write_message(WorkerRequest("r", "m", "/v1/x", False, "{}"))) == {
        "type": "request",
        "request_id": "r",
        "model": "m",
        "endpoint_path": "/v1/x",
        "is_streaming": False,
        "body": "{}",
    }


def test_null_stands_for_a_member_that_is_left_out() -> None:
    frame = '{"type":"register","worker_name":"w","models":[],"max_concurrent":1,"protocol_version":null}'

    assert read_from_worker(frame) == Register("w", [], 1)


def test_members_that_are_not_known_are_ignored() -> None:
    assert read_from_worker('{"type":"pong","current_load":1,"temperature_c":80}') == WorkerPong(1)


@pytest.mark.parametrize("frame", ['{"type":"metrics","cpu":1}', '{"type":"register_ack","worker_id":"x"}'])
def test_types_that_are_not_known_are_ignored(frame: str) -> None:
    assert read_from_worker(frame) is None


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "hello",
        "[]",
        "{}",
        '{"type":1}',
        '{"type":"pong"}',
        '{"type":"pong","current_load":-1}',
        '{"type":"pong","current_load":4294967296}',
        '{"type":"pong","current_load":"1"}',
        '{"type":"response_chunk","request_id":"r"}',
        '{"type":"response_chunk","request_id":"r","chunk":null}',
        '{"type":"response_complete","request_id":"r","status_code":99999}',
        '{"type":"response_complete","request_id":"r","status_code":200,"headers":{"a":1}}',
        '{"type":"register","worker_name":"w","models":"m","max_concurrent":1}',
        '{"type":"response_chunk","request_id":"' + "r" * 300 + '","chunk":""}',
        '{"type":"register","worker_name":"w","models":['
        + ",".join(['"m"'] * 5000)
        + '],"max_concurrent":1}',
        "[" * 100_000,
        '{"type":"pong","current_load":1,"x":' + "[" * 100_000,
        '{"type":"error","code":"x","message":"\\ud800"}',
        "\ud800",
    ],
)
def test_what_is_not_a_message_is_refused(frame: str) -> None:
    with pytest.raises(InvalidMessageError):
        read_from_worker(frame)


def test_header_fields_are_limited_in_number() -> None:
    headers = {f"x-{number}": "1" for number in range(129)}
    frame = {"type": "response_complete", "request_id": "r", "status_code": 200, "headers": headers}

    with pytest.raises(InvalidMessageError):
        read_from_worker(json.dumps(frame))


def test_a_worker_reads_nothing_of_its_own_side() -> None:
    assert read_from_server(write_message(WorkerPong(0))) is None

"""A server elsewhere gets what its client sent, and what it refuses is read in any shape."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from relayd.endpoint import Endpoint, TcpAddress
from relayd.errors import UpstreamError
from relayd.profile import EndpointProfile
from relayd.router.additions import with_additions
from relayd.router.headers import Call, Head, SentBody
from relayd.router.remotecall import for_remote, is_final, read_problem, remote_call, remote_problem
from relayd.secret import Secret
from relayd.tlsaddress import TlsAddress

pytestmark = pytest.mark.pure

ELSEWHERE = Endpoint(
    TlsAddress("api.example"),
    Secret("sk-1"),
    "m@api",
    1,
    EndpointProfile(model="gpt-x", base="/openai", continues=False),
)
CHAT = "/v1/chat/completions"


def call_of(body: dict[str, Any], dropped: tuple[str, ...] = (), path: str = CHAT) -> Call:
    """Return what a door makes of a body, of which a replica does not get some members."""
    members = msgspec.json.decode(json.dumps(body), type=dict[str, msgspec.Raw])
    kept = {name: value for name, value in body.items() if name not in dropped}
    call = Call(path, json.dumps(kept).encode(), bool(body.get("stream")))
    sent = SentBody(members, frozenset(dropped), fields=(("X-Request-ID", "r1"),))
    return msgspec.structs.replace(with_additions(call, members, 1), sent=sent)


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "messages": [{"role": "user", "content": "x" * 2000}]},
        {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False, "store": True},
        {"model": "m", "messages": [{"role": "user", "content": "x" * 2000}], "stream": True},
        {"model": "m", "messages": [], "stream": True, "stream_options": {"include_usage": True}},
        {"messages": [{"role": "user", "content": "no model"}], "guided_json": {"type": "object"}},
        {"model": "m", "messages": [{"role": "user", "content": "x" * 2000}], "return_progress": True},
    ],
)
def test_every_member_passes_as_sent_but_the_model(body: dict[str, Any]) -> None:
    unlisted = tuple(name for name in ("store", "guided_json") if name in body)
    sent = remote_call(call_of(body, unlisted), ELSEWHERE)
    assert {**body, "model": "gpt-x"} == json.loads(sent.body)
    assert (bool(body.get("stream")), None) == (sent.stream, sent.collector)


def test_the_head_has_the_key_of_the_server_and_the_id_of_the_request() -> None:
    sent = remote_call(call_of({"model": "m", "messages": []}), ELSEWHERE)
    lines = sent.opening(ELSEWHERE).decode().split("\r\n")
    assert "POST /openai/v1/chat/completions HTTP/1.1" == lines[0]
    assert {"Host: api.example", "Authorization: Bearer sk-1", "X-Request-ID: r1"} <= set(lines)


def test_a_server_without_a_key_gets_no_authorization() -> None:
    bare = Endpoint(TcpAddress(11434), Secret(""), "m@ollama", 1, EndpointProfile(model="m:7b"))
    sent = remote_call(call_of({"model": "m", "messages": []}), bare)
    assert b"authorization" not in sent.opening(bare).lower()


def test_second_names_of_paths_are_replaced_by_what_every_server_has() -> None:
    sent = remote_call(call_of({"model": "m", "messages": []}, path="/chat/completions"), ELSEWHERE)
    assert CHAT == sent.path


def test_a_server_that_cannot_go_on_is_not_asked_to() -> None:
    with pytest.raises(UpstreamError, match="cannot go on"):
        asyncio.run(for_remote(call_of({"model": "m", "messages": []}), ELSEWHERE, continues=True))


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b'{"error":{"message":"no such model","type":"NotFoundError","code":404}}', "no such model"),
        (
            b'{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}',
            "too long",
        ),
        (b'{"error":"model not loaded"}', "model not loaded"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"detail":[{"loc":["body","messages"],"msg":"field required"}]}', "field required"),
        (b"upstream connect error", "upstream connect error"),
        (b"<html><body>Bad Gateway</body></html>", "The server answered 400 without saying why."),
        (b"", "The server answered 400 without saying why."),
        (b"[]", "[]"),
    ],
)
def test_an_error_is_read_in_any_shape(payload: bytes, message: str) -> None:
    assert message in read_problem(400, payload).message


@pytest.mark.parametrize(
    ("status", "final"), [(400, True), (413, True), (422, True), (404, False), (408, False)]
)
def test_what_the_client_did_wrong_is_tried_nowhere_else(status: int, final: bool) -> None:
    assert final is is_final(read_problem(status, b'{"error":"x"}'))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
def test_what_a_server_cannot_do_now_is_tried_elsewhere(status: int) -> None:
    assert not is_final(read_problem(status, b'{"error":"x"}'))


@pytest.mark.parametrize(("status", "reason"), [(401, "key"), (403, "key"), (302, "redirect")])
def test_what_only_an_operator_can_mend_is_no_clients_fault(status: int, reason: str) -> None:
    with pytest.raises(UpstreamError, match=reason):
        remote_problem(Head(status, 0, chunked=False, keep_alive=True), b"", "m@api")

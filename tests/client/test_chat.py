"""A conversation reads a stream to its end, and tells a refusal from an answer that broke off."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from relayd.client.chat import Conversation
from relayd.errors import NoDaemonError, RequestError, UpstreamError
from relayd.secret import Secret

pytestmark = pytest.mark.system

HELLO = [{"role": "user", "content": "Hello."}]
TIMINGS = {
    "prompt_n": 7,
    "cache_n": 5,
    "prompt_per_second": 70.0,
    "predicted_n": 2,
    "predicted_per_second": 9.0,
}


class Server:
    """Answers one request with bytes that the test chose, and keeps what it was sent."""

    def __init__(self, listening: socket.socket, answer: bytes) -> None:
        self._listening = listening
        self._answer = answer
        self.port = listening.getsockname()[1]
        self.head = ""
        self.body: dict[str, Any] = {}

    def serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection, connection.makefile("rb") as received:
            lines = list(iter(received.readline, b"\r\n"))
            self.head = b"".join(lines).decode()
            (length,) = (int(line.split()[1]) for line in lines if line.lower().startswith(b"content-length"))
            self.body = json.loads(received.read(length))
            connection.sendall(self._answer)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)


@contextmanager
def serving(answer: bytes) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Server(listening, answer)
        thread = threading.Thread(target=server.serve)
        thread.start()
        yield server
        thread.join(60)


def stream(*events: object, done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"] * done
    headers = "Content-Type: text/event-stream\r\nX-Relayd-Replica: m#1\r\nX-Relayd-Queue-Ms: 250\r\n"
    return f"HTTP/1.1 200 OK\r\n{headers}\r\n{''.join(lines)}".encode()


def piece(text: str, **rest: object) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}}], **rest}


def test_an_answer_is_put_together_and_says_what_it_took() -> None:
    pieces: list[str] = []
    with serving(stream(piece("Good "), piece("day", timings=TIMINGS))) as server:
        turn = Conversation(server.connect, Secret("key")).ask(
            "m", HELLO, max_tokens=5, on_text=pieces.append, seed=1
        )

    assert (["Good ", "day"], "Good day") == (pieces, turn.text)
    assert ("m#1", 0.25, 7, 5, 70.0, 2, 9.0) == (
        turn.replica, turn.queue_seconds, turn.prompt_tokens, turn.cached_tokens, turn.prompt_per_second,
        turn.tokens, turn.per_second,
    )  # fmt: skip
    assert {"model": "m", "messages": HELLO, "stream": True, "max_tokens": 5, "seed": 1} == server.body
    assert "Authorization: Bearer key\r\n" in server.head


def test_without_a_key_none_is_sent() -> None:
    with serving(stream(piece("x"))) as server:
        Conversation(server.connect, Secret("")).ask("m", HELLO)

    assert "authorization" not in server.head.lower()


REFUSED = b'{"error": {"message": "The queue is full.", "code": "queue_full"}}'


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (b"HTTP/1.1 429 Slow\r\nContent-Length: %d\r\n\r\n%b" % (len(REFUSED), REFUSED),
         RequestError, "The queue is full."),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 4\r\n\r\nOops", RequestError, "the server answered 502"),
        (stream(piece("Go"), {"error": {"message": "it failed"}}), UpstreamError, "it failed"),
        (stream(piece("Go"), done=False), UpstreamError, "before its last event"),
        (b"", UpstreamError, "broke off"),
    ],
    ids=["refused", "refused without an error body", "error event", "no last event", "closed"],
)  # fmt: skip
def test_what_went_wrong_is_raised(answer: bytes, kind: type[Exception], message: str) -> None:
    with serving(answer) as server, pytest.raises(kind, match=message):
        Conversation(server.connect, Secret("")).ask("m", HELLO)


def test_a_refusal_keeps_the_code_of_the_server() -> None:
    answer = b"HTTP/1.1 429 Slow\r\nContent-Length: %d\r\n\r\n%b" % (len(REFUSED), REFUSED)
    with serving(answer) as server, pytest.raises(RequestError) as refusal:
        Conversation(server.connect, Secret("")).ask("m", HELLO)

    assert "queue_full" == refusal.value.code


def test_a_refused_connection_means_no_daemon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    closed: Callable[[], http.client.HTTPConnection] = lambda: http.client.HTTPConnection("127.0.0.1", port)  # noqa: E731 - one line

    with pytest.raises(NoDaemonError):
        Conversation(closed, Secret("")).ask("m", HELLO)

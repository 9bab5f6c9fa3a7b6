"""A load test counts what clients get: whole answers, their times, and each failure by its code."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from relayd.client.load import Answered, Percentiles, Target, percentiles, result_of, run_load

pytestmark = pytest.mark.system

PATH = "/v1/chat/completions"


class Server(ThreadingHTTPServer):
    """Answers each request with the next of its answers, and the last one for ever: status and body."""

    daemon_threads = False

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.bodies, self.keys = list(answers), list[dict[str, object]](), set[str | None]()
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.keys.add(self.headers["Authorization"])
            status, answer = self.server.answers[0]
            if len(self.server.answers) > 1:
                del self.server.answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


WHOLE = json.dumps({"choices": [], "usage": {"completion_tokens": 7}}).encode()
FULL = json.dumps({"error": {"message": "…", "code": "queue_full"}}).encode()
STREAM = b'data: {"choices": []}\n\ndata: {"timings": {"predicted_n": 5}}\n\ndata: [DONE]\n\n'
CUT = b'data: {"choices": []}\n\n'
FAILED = b'data: {"choices": []}\n\ndata: {"error": {"code": "replica_stopped"}}\n\n'


@pytest.fixture
def serving() -> Iterator[list[Server]]:
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()


def started(
    serving: list[Server], *answers: tuple[int, bytes], stream: bool = False
) -> tuple[Server, Target]:
    server = Server(*answers)
    serving.append(server)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    connect = partial(HTTPConnection, "127.0.0.1", server.server_port, timeout=30)
    return server, Target(connect, PATH, {"model": "m", "stream": stream}, "say something")


def test_whole_answers_are_counted_with_their_tokens(serving: list[Server]) -> None:
    server, target = started(serving, (200, WHOLE))

    result = run_load(target, 20, 4)

    assert (20, 20, {}) == (result.requests, result.answered, result.failures)
    assert result.first_byte is not None
    assert result.whole is not None
    assert (
        result.first_byte.p50 <= result.whole.p50 <= result.whole.p99 <= result.whole.most <= result.seconds
    )
    assert result.tokens_per_second == pytest.approx(7 * result.requests_per_second)
    assert 20 == len({str(body["messages"]) for body in server.bodies})


def test_failures_are_counted_by_status_and_code(serving: list[Server]) -> None:
    _, target = started(serving, (200, WHOLE), (429, FULL), (429, FULL), (502, b"<html>"), (200, WHOLE))

    result = run_load(target, 6, 1)

    assert {"429 queue_full": 2, "502": 1} == result.failures
    assert 3 == result.answered


def test_a_stream_is_whole_with_its_end_alone(serving: list[Server]) -> None:
    _, target = started(serving, (200, STREAM), (200, CUT), (200, FAILED), (200, STREAM), stream=True)

    result = run_load(target, 4, 1)

    assert {"stream without an end": 1, "stream replica_stopped": 1} == result.failures
    assert result.tokens_per_second == pytest.approx(5 * result.requests_per_second)


def test_an_address_where_no_server_listens_is_a_failure_of_each_request(serving: list[Server]) -> None:
    server, target = started(serving, (200, WHOLE))
    server.shutdown()
    server.server_close()
    serving.clear()

    assert {"connection refused": 3} == run_load(target, 3, 2).failures


def test_percentiles_are_values_that_were_seen() -> None:
    assert Percentiles(50, 95, 99, 100) == percentiles([float(one) for one in range(100, 0, -1)])
    assert Percentiles(1, 2, 2, 2) == percentiles([2.0, 1.0])
    assert percentiles([]) is None


def test_without_an_answer_there_are_no_times() -> None:
    result = result_of([Answered("429")], 1, 0.5)

    assert (None, None, 0.0) == (result.first_byte, result.whole, result.requests_per_second)

"""Does every request get an answer, however its daemon or its replica ends?"""

import json
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.test_faults import config
from tests.daemons import DEADLINE_SECONDS, Daemon

pytestmark = pytest.mark.real

DRAIN = "drain_seconds = 0.1"


class Raw:
    """One request as bytes, and what comes back until the connection ends."""

    def __init__(self, url: str, raw: bytes) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=DEADLINE_SECONDS)
        self._socket.sendall(raw)
        self.answer = b""
        self._begun, self._ended = threading.Event(), threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := self._socket.recv(1 << 16):
                self.answer += data
                self._begun.set()
        except ConnectionError:
            self.answer += b"<reset>"
        self._begun.set()
        self._ended.set()

    def begun(self) -> None:
        assert self._begun.wait(DEADLINE_SECONDS)

    def end(self) -> bytes:
        assert self._ended.wait(DEADLINE_SECONDS), self.answer[-300:]
        self._reader.join()
        self._socket.close()
        return self.answer


def post(tokens: int, *, stream: bool, version: str = "1.1", more: int = 0) -> bytes:
    """Return a request; `more` bytes of its body are announced and not sent."""
    body = json.dumps(
        {"model": "slow", "prompt": "x", "max_tokens": tokens, "ignore_eos": True, "stream": stream}
    )
    head = f"POST /v1/completions HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n"
    head += "X-Relayd-Continue: off\r\n"
    return f"{head}Content-Length: {len(body) + more}\r\n\r\n{body}".encode()


def code_of(answer: bytes) -> str:
    """Return the code of the error that an answer is, or ends with."""
    codes = re.findall(rb'"code":"([a-z_]+)"', answer)
    return codes[-1].decode() if codes else f"none in {answer[-200:]!r}"


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


@contextmanager
def requests(daemon: Daemon) -> Iterator[dict[str, Raw]]:
    """Have a request in every place: streams and a plain one that run, others that wait, one that arrives."""
    url, sent = daemon.url, dict[str, Raw]()
    for name, version in (("stream", "1.1"), ("stream of 1.0", "1.0")):
        sent[name] = Raw(url, post(1_900, stream=True, version=version))
        sent[name].begun()
    sent["plain"] = Raw(url, post(200, stream=False))
    await_load(daemon, running=3, waiting=0)
    sent["waiting"] = Raw(url, post(3, stream=False))
    sent["waiting stream"] = Raw(url, post(3, stream=True, version="1.0"))
    await_load(daemon, running=3, waiting=2)
    sent["arriving"] = Raw(url, post(3, stream=False, more=5))
    yield sent


def await_load(daemon: Daemon, **wanted: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        (model,) = daemon.status()["models"]
        if wanted == {name: model[name] for name in wanted}:
            return
        assert time.monotonic() < deadline, model
        threading.Event().wait(0.01)


ENDS = {
    "SIGTERM": lambda daemon: daemon.process.send_signal(signal.SIGTERM),
    "stop": lambda daemon: daemon.client.stop_daemon(),
    "upgrade": lambda daemon: daemon.client.upgrade(0.1),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_outlasts_the_end_of_a_daemon_is_answered_in_every_place(
    start_daemon: Callable[..., Daemon], slow_model: Path, end: str
) -> None:
    daemon = start_daemon(config(slow_model, slots=3).replace("drain_seconds = 600", DRAIN))
    with requests(daemon) as sent:
        ENDS[end](daemon)
        answers = {name: one.end() for name, one in sent.items()}
    assert 0 == daemon.process.wait(DEADLINE_SECONDS)

    begun = {name for name in sent if name.startswith("stream")}
    assert {name: 200 if name in begun else 503 for name in sent} == {
        name: status_of(answer) for name, answer in answers.items()
    }
    assert dict.fromkeys(sent, "server_stopping") == {
        name: code_of(answer) for name, answer in answers.items()
    }
    assert [] == [n for n, answer in answers.items() if n not in begun and b"Retry-After: " not in answer]
    assert [] == [name for name, answer in answers.items() if b"<reset>" in answer or b"[DONE]" in answer]


@pytest.mark.parametrize("end", ["stop", "restart", "reload", "unload"])
def test_what_outlasts_the_end_of_a_replica_is_answered_in_every_place(
    start_daemon: Callable[..., Daemon], slow_model: Path, tiny_model: Path, end: str
) -> None:
    text = config(slow_model, slots=3).replace("drain_seconds = 600", DRAIN)
    daemon = start_daemon(text)
    with requests(daemon) as sent:
        if end == "reload":
            other = f'[[model]]\nname = "tiny"\nfile = "{tiny_model}"\n'
            daemon.config.write_text(text.partition("[[model]]")[0] + other)
            daemon.client.reload()
        elif end == "unload":
            daemon.client.unload("slow", force=True)
        else:
            {"stop": daemon.client.stop, "restart": daemon.client.restart}[end]("slow")
        sent["arriving"]._socket.sendall(b"     ")
        answers = {name: one.end() for name, one in sent.items()}

    begun = {name for name in sent if name.startswith("stream")}
    assert dict.fromkeys(begun, (200, "replica_stopped")) == {
        name: (status_of(answer), code_of(answer)) for name, answer in answers.items() if name in begun
    }
    others = {name: answer for name, answer in answers.items() if name not in begun}
    arriving = {"stop": 503, "reload": 404}.get(end, 200)
    refused = 503 if end in ("stop", "reload") else 200
    assert dict.fromkeys(others, refused) | {"arriving": arriving} == {
        name: status_of(answer) for name, answer in others.items()
    }
    assert [] == [
        name
        for name, answer in others.items()
        if status_of(answer) == 503
        and (b"Retry-After: " not in answer or code_of(answer) != "model_unavailable")
    ]
    assert [] == [name for name, answer in answers.items() if b"<reset>" in answer]

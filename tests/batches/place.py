"""Three real replicas, whoever has them: a home, the daemon of the moment, and the batches that it runs."""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from random import Random
from typing import Any

from tests.daemons import DEADLINE_SECONDS, Daemon

CONFIG = """\
[logs]
requests = "all"
max_mib = 1000
[restart]
budget = 1000000
first_delay_seconds = 0.05
max_delay_seconds = 0.5
[probe]
ready_seconds = 0.5
timeout_seconds = 2
[[model]]
name = "m"
file = "{file}"
replicas = {replicas}
slots = 4
context = 8192
threads = 1
"""

OVER = ("completed", "failed", "expired", "cancelled")


@dataclass
class Place:
    """A home with a model.

    Attributes:
        home: Everything is in here.
        engine: The llama-server.
        file: The model.
        replicas: How many serve it.
        environ: What the daemon gets besides.
    """

    home: Path
    engine: Path
    file: Path
    replicas: int = 3
    environ: dict[str, str] = field(default_factory=dict)

    def start(self) -> Daemon:
        """Start a daemon here, and return it once it listens and a replica is ready."""
        text = CONFIG.format(file=self.file, replicas=self.replicas)
        daemon = Daemon(self.home, self.engine, text, (), self.environ)
        daemon.await_event("try")
        return daemon

    @property
    def state(self) -> Path:
        """Where it keeps what outlives it."""
        return self.home / "state"

    def request_logs(self) -> Iterator[Path]:
        """Yield the files of the log of requests."""
        return self.state.rglob("requests.jsonl*")

    def request_ids(self) -> Iterator[str]:
        """Yield the ids of all requests that came to their end."""
        for path in self.request_logs():
            for line in path.read_text().splitlines():
                with contextlib.suppress(ValueError):  # cut off where the daemon was killed
                    yield str(json.loads(line).get("request_id", ""))


def ask(url: str, method: str, path: str, body: Any = None) -> Any:
    """Return what the daemon answers, as JSON if it is that."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=DEADLINE_SECONDS)
    with contextlib.closing(connection):
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"} if method == "PUT" else {}
        connection.request("POST" if method == "PUT" else method, path, sent, headers)
        answer = connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise HTTPException(f"{method} {path}: {answer.status} {data[:500]!r}")
    return (
        json.loads(data) if "json" in answer.getheader("Content-Type", "") and "content" not in path else data
    )


_BOUNDARY = "b8f1"


def form(content: bytes) -> bytes:
    """Return the form of an upload."""
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    )
    return head.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()


def submit(url: str, content: bytes) -> str:
    """Have a file run, and return the id of its batch."""
    file = ask(url, "PUT", "/v1/files", form(content))["id"]
    batch = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return str(ask(url, "POST", "/v1/batches", batch)["id"])


def line(number: int, prompt: str, tokens: int) -> bytes:
    """Return a line of a file."""
    body = {"model": "m", "max_tokens": tokens, "messages": [{"role": "user", "content": prompt}]}
    made = {"custom_id": f"l{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(made).encode() + b"\n"


def lines(random: Random, number: int, groups: int, longest: int) -> bytes:
    """Return a file of lines that belong to groups, each with a beginning of its own, in any order."""
    beginnings = ["".join(random.choice("abcdefgh ") for _ in range(400)) for _ in range(groups)]
    return b"".join(
        line(place, f"{random.choice(beginnings)} {place}", random.randint(2, longest))
        for place in range(number)
    )


@dataclass(frozen=True)
class Outcome:
    """What became of the lines of a batch."""

    state: str
    lost: int
    duplicates: int
    failed: int


def await_end(url: Callable[[], str], batch: str, seconds: float) -> dict[str, Any]:
    """Wait for the end of a batch; return it as it is then."""
    deadline = time.monotonic() + seconds
    found: dict[str, Any] = {}
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, HTTPException):
            found = ask(url(), "GET", f"/v1/batches/{batch}")
            if found["status"] in OVER:
                break
        threading.Event().wait(0.3)
    return found


def outcome(url: str, batch: dict[str, Any], number: int) -> Outcome:
    """Compare the results of a batch with its lines."""
    names: Counter[str] = Counter()
    failed = 0
    for place, member in enumerate(("output_file_id", "error_file_id")):
        if batch[member]:
            content = ask(url, "GET", f"/v1/files/{batch[member]}/content").splitlines()
            names.update(json.loads(one)["custom_id"] for one in content)
            failed += place * len(content)
    lost = sum(f"l{one}" not in names for one in range(number))
    return Outcome(batch["status"], lost, names.total() - len(names), failed)

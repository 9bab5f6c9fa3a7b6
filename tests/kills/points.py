"""One answer after the other, each disturbed once: by whom is it given, and is it still the same?"""

import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psutil

from tests.daemons import DEADLINE_SECONDS, Daemon, wait_until
from tests.kills.forms import FORMS, Form, events_of

_ROLE = b'"role":"assistant"'
_BUSY_SECONDS = 0.02

CONFIG = """\
[logs]
requests = "all"
[restart]
budget = 1000000
first_delay_seconds = 0.05
max_delay_seconds = 0.05
[probe]
ready_seconds = 0.5
timeout_seconds = 1
hung_seconds = 10
[[model]]
name = "m"
file = "{file}"
replicas = 2
slots = 1
context = 4096
threads = 1
cache_ram_mib = 0
"""
"""Two replicas that come back at once; one slot each, as neighbours change even greedy text."""

TCP = """\
[replicas]
listen = "tcp"
ports = "18400-18499"
"""
"""The connections of other processes can be reset there (`ss -K`)."""

EXACT = """\
[model.placement]
micro_batch = 1
"""
"""Has a prompt read token by token, as text is written: in larger passes the engine adds up in another
order, so that the last bit of a number, and with random weights now and then a word, depends on the cut."""


@dataclass(frozen=True, slots=True)
class Given:
    """An answer as its client got it."""

    status: int
    raw: bytes
    text: str
    seconds: float
    error: str = ""


@dataclass
class Point:
    """One disturbed answer.

    Attributes:
        form: How it was asked for.
        fault: What happened to its replica.
        at: When, as a share of the time that the answer takes.
        outcome: `equal`, `differs`, or why it failed.
        seconds: How long it took.
        was_hit: Whether the replica was working on it at that moment.
    """

    form: str
    fault: str
    at: float
    outcome: str = ""
    seconds: float = 0.0
    was_hit: bool = False


@dataclass
class Stage:
    """A daemon with two replicas.

    Args:
        daemon: Serves the model `m`.
        seed: Of the random moments.
        busy: Whether other requests run beside.
    """

    daemon: Daemon
    seed: int = 0
    points: list[Point] = field(default_factory=list)
    busy: bool = False

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.pids: dict[int, str] = {}
        self.address = self.daemon.url.removeprefix("http://")

    def ask(self, form: Form, prompt: str, tokens: int) -> Given:
        """Return the answer to a prompt."""
        sampling = {"model": "m", "temperature": 0, "seed": 1, "stream": form.stream}
        body = json.dumps({**form.body(prompt, tokens), **sampling})
        started = time.monotonic()
        connection = HTTPConnection(self.address, timeout=DEADLINE_SECONDS)
        raw, error, status = b"", "", 0
        try:
            connection.request("POST", form.path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            status = answer.status
            raw = answer.read()
        except (OSError, HTTPException) as fault:
            raw, error = raw or getattr(fault, "partial", b""), type(fault).__name__
        finally:
            connection.close()
        return self._given(form, status, raw, time.monotonic() - started, error)

    def _given(self, form: Form, status: int, raw: bytes, seconds: float, error: str) -> Given:
        text = ""
        if status == 200 and not error:
            with suppress(KeyError, json.JSONDecodeError):
                text = form.text(events_of(raw))
        return Given(status, raw, text, seconds, error)

    def disturb(self, name: str, fault: str, prompt: str, tokens: int) -> Point:
        """Ask for an answer, undisturbed and disturbed, and compare the two."""
        form = FORMS[name]
        self.settle()
        whole = self.ask(form, prompt, tokens)
        self.settle()
        point = Point(name, fault, self.random.random())
        again: list[Given] = []
        before = self.spent()
        client = threading.Thread(target=lambda: again.append(self.ask(form, prompt, tokens)))
        client.start()
        time_left = point.at * whole.seconds
        threading.Event().wait(time_left)
        stopped = self.hit(before, fault)
        client.join()
        point.was_hit = stopped is not None and (not self.busy or b"continue" in again[0].raw)
        if fault == "stop" and stopped is not None:
            with suppress(psutil.Error):
                stopped.send_signal(signal.SIGCONT)
        point.seconds = again[0].seconds - whole.seconds
        point.outcome = _compared(form, whole, again[0])
        self.points.append(point)
        return point

    @contextmanager
    def neighbours(self, count: int) -> Iterator[None]:
        """Have so many streams run beside, one after the other, on each replica."""
        self.busy = bool(count)
        over = threading.Event()

        def stream() -> None:
            while not over.is_set():
                self.ask(FORMS["chat"], "beside", 60)

        streams = [threading.Thread(target=stream) for _ in range(2 * count)]
        for one in streams:
            one.start()
        try:
            yield
        finally:
            over.set()
            for one in streams:
                one.join()

    def hit(self, before: Mapping[int, float], fault: str) -> psutil.Process | None:
        """End, stop, or reset the connections of, the replica that works, if one does."""
        spent = {pid: seconds - before.get(pid, 0.0) for pid, seconds in self.spent().items()}
        busiest = max(spent, key=lambda pid: spent[pid], default=0)
        if self.busy:
            busiest = self.random.choice([*spent])
        if spent.get(busiest, 0.0) < _BUSY_SECONDS:
            return None
        with suppress(psutil.Error):
            process = psutil.Process(busiest)
            if fault == "reset":
                reset_connections(self.pids[busiest])
            else:
                process.send_signal(signal.SIGKILL if fault == "kill" else signal.SIGSTOP)
            return process
        return None

    def spent(self) -> dict[int, float]:
        """Return the CPU seconds of each replica."""
        found = {}
        for pid in self.pids:
            with suppress(psutil.Error):
                times = psutil.Process(pid).cpu_times()
                found[pid] = times.user + times.system
        return found

    def replica_of(self, pid: int) -> str:
        """Return the name of the replica that a process serves."""
        return next(name for name, one in self.daemon.replicas().items() if one["pid"] == pid)

    def settle(self) -> None:
        """Wait until both replicas are ready and have nothing to do."""
        wait_until(lambda: all(one["state"] == "ready" for one in self.daemon.replicas().values()))
        if not self.busy:
            wait_until(lambda: not any(model["running"] for model in self.daemon.status()["models"]))
        self.pids = {one["pid"]: one["address"] for one in self.daemon.replicas().values()}


def _compared(form: Form, whole: Given, again: Given) -> str:
    if again.error or again.status != 200:
        return f"{again.status} {again.error or _code(again.raw)}"
    if b'"error"' in again.raw[-600:]:
        return f"cut: {_code(again.raw)}"
    if form.ends and again.raw.count(form.ends) != whole.raw.count(form.ends):
        return "another end"
    roles = again.raw.count(_ROLE), whole.raw.count(_ROLE)
    if form.stream and form.path != "/api/chat" and roles[0] != roles[1]:
        return "another beginning"
    return "equal" if again.text == whole.text else "differs"


def _code(raw: bytes) -> str:
    found: Any = raw.rpartition(b'"code":"')[2].partition(b'"')[0]
    return str(found.decode("utf-8", "replace"))[:40]


def reset_connections(address: str) -> None:
    """Reset every connection to a port of this machine, as only root can."""
    port = address.rpartition(":")[2]
    asked = ["ss", "-K", "dst", "127.0.0.1", "dport", "=", f":{port}"]
    subprocess.run(asked, check=False, capture_output=True)


def config(file: Path, *, exact: bool = True, tcp: bool = False) -> str:
    """Return the configuration of the stage."""
    return CONFIG.format(file=file) + EXACT * exact + TCP * tcp

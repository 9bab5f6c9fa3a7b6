"""A router while it is measured: started, known to answer, its CPU time and memory read, ended."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event

import psutil

from tests.bench.peers import Peer
from tests.bench.scenarios import KEY

REQUEST = b'{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":1}'
_PATIENCE_SECONDS = 120.0
_REST_SECONDS = 0.3
_AT_REST = 0.05
"""Share of a core that a router which has come up still uses."""


@dataclass(frozen=True, slots=True)
class Router:
    """A running router.

    Attributes:
        peer: Which one.
        processes: Its own; engines that it has started do not count.
    """

    peer: Peer
    processes: tuple[psutil.Process, ...]

    def cpu_seconds(self) -> float:
        """Return the CPU time of all its threads, to the nanosecond where the system counts so."""
        return sum(map(_cpu_seconds, self.processes))

    def memory_bytes(self) -> int:
        """Return what it holds in memory: its share where pages are shared (PSS)."""
        return sum(one.memory_full_info().pss for one in self.processes)


@contextmanager
def running(peer: Peer, folder: Path) -> Iterator[Router]:
    """Start a router, and lend it once it answers and is at rest.

    Raises:
        SystemExit: It does not answer; its output is shown.
    """
    log = folder / f"{peer.name}.log"
    with started(peer.command, folder, log) as process:
        await_answer(peer.port, process, log)
        router = Router(peer, (process, *(process.children(recursive=True) if peer.has_children else [])))
        await_rest(router)
        yield router


def home_of(folder: Path) -> dict[str, str]:
    """Return the variables of a home of its own, where compiled modules are kept as they are for users."""
    home = {"HOME": str(folder), "XDG_STATE_HOME": f"{folder}/s", "XDG_CONFIG_HOME": f"{folder}/c"}
    return home | {"PYTHONDONTWRITEBYTECODE": ""}


@contextmanager
def started(command: tuple[str, ...], folder: Path, log: Path) -> Iterator[psutil.Process]:
    """Start a program with a home of its own; it is ended, by force after 20 seconds."""
    env = dict(os.environ) | home_of(folder)
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, env=env) as child,
    ):
        process = psutil.Process(child.pid)
        try:
            yield process
        finally:
            family = process.children(recursive=True)
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                for one in (process, *family):
                    with suppress(psutil.NoSuchProcess):
                        one.kill()


def await_answer(port: int, process: psutil.Process, log: Path) -> None:
    """Wait until a request is answered by the engine behind a router.

    Raises:
        SystemExit: It does not answer.
    """
    ends_at = time.monotonic() + _PATIENCE_SECONDS
    while not answers(port):
        if time.monotonic() > ends_at or _ended(process, 0.1):
            raise SystemExit(f"{log.stem} does not answer: {log.read_text('utf-8', 'replace')[-2000:]}")


def answers(port: int) -> bool:
    """Return whether a router passes a request on and its answer back."""
    fields = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("POST", "/v1/chat/completions", REQUEST, fields)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def await_rest(router: Router) -> None:
    """Wait until a router that has come up does next to nothing."""
    never, ends_at = Event(), time.monotonic() + 15
    while time.monotonic() < ends_at:
        before = router.cpu_seconds()
        never.wait(_REST_SECONDS)
        if router.cpu_seconds() - before < _AT_REST * _REST_SECONDS:
            return


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        tasks = Path(f"/proc/{process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except OSError:
        times = process.cpu_times()
        return float(times.user + times.system)


def _ended(process: psutil.Process, seconds: float) -> bool:
    """Return whether a process ends within so many seconds."""
    try:
        process.wait(seconds)
    except psutil.TimeoutExpired:
        return False
    return True

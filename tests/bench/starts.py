"""How soon do relayd's commands answer, how soon does its daemon listen, and what does it hold when idle?"""

import os
import resource
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.peers import Peer
from tests.bench.running import Router, await_answer, await_rest, home_of, started
from tests.bench.table import Row

_TIMES = 5
"""How often each command runs; the median counts."""


def starts(peer: Peer, folder: Path) -> Iterator[Row]:
    """Measure relayd: commands beside a running daemon, and the daemon's own start.

    The daemon has its plan remembered, and recommend its answers of the engine, from a start before.
    """
    relayd, env = peer.command[0], dict(os.environ) | home_of(folder)
    log = folder / f"{peer.name}.log"
    with started(peer.command, folder, log) as process:
        await_answer(peer.port, process, log)
        router = Router(peer, (process,))
        await_rest(router)
        yield Row(peer.name, "idle_mb", process.memory_info().rss / 1e6, {})
        yield Row(peer.name, "help_ms", *_taken([relayd, "--help"], env))
        yield Row(peer.name, "status_ms", *_taken([relayd, "status"], env))
    with started(peer.command, folder, log) as process:
        began = time.perf_counter()
        while not _listens(peer.port):
            if time.perf_counter() - began > 60:
                raise SystemExit(f"{peer.name} does not listen: {log.read_text('utf-8', 'replace')}")
        taken_ms = (time.perf_counter() - began) * 1e3
        yield Row(peer.name, "listening_ms", taken_ms, {})
        await_answer(peer.port, process, log)
        taken_ms = (time.perf_counter() - began) * 1e3
        cpu_ms = Router(peer, (process,)).cpu_seconds() * 1e3
        yield Row(peer.name, "answering_ms", taken_ms, {"cpu_ms": cpu_ms})
    subprocess.run([relayd, "recommend"], capture_output=True, check=True)
    yield Row(peer.name, "recommend_s", _cpu_seconds([relayd, "recommend"]), {})


def _taken(command: list[str], env: dict[str, str]) -> tuple[float, dict[str, float]]:
    """Return the milliseconds that a command takes, and what of them is CPU: other work changes it less."""
    taken, before = [], _children_seconds()
    for _ in range(_TIMES):
        began = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True, env=env)
        taken.append((time.perf_counter() - began) * 1e3)
    return statistics.median(taken), {"cpu_ms": (_children_seconds() - before) / _TIMES * 1e3}


def _cpu_seconds(command: list[str]) -> float:
    """Return the CPU seconds of a command and of what it has started."""
    before = _children_seconds()
    subprocess.run(command, capture_output=True, check=True)
    return _children_seconds() - before


def _children_seconds() -> float:
    """Return the CPU seconds of all processes that have been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        connection.settimeout(1)
        return connection.connect_ex(("127.0.0.1", port)) == 0

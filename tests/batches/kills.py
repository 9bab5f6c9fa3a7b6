"""Lines of a batch while the daemon and its replicas are killed and people's streams run beside."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPException
from random import Random

import psutil

from relayd.errors import RelaydError
from tests.batches.place import Place, ask, await_end, lines, outcome, submit
from tests.daemons import Daemon, tagged_processes


class Streams:
    """People who ask again and again; what fails while the daemon is down is counted."""

    def __init__(self, number: int) -> None:
        self.url = ""
        self.counts: Counter[str] = Counter()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._converse, args=(one,)) for one in range(number)]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()

    def _converse(self, seed: int) -> None:
        random = Random(seed)
        while not self._over.wait(random.uniform(0.0, 1.0)):
            body = {
                "model": "m",
                "stream": True,
                "max_tokens": random.randint(5, 60),
                "messages": [{"role": "user", "content": f"{seed} {random.random()}"}],
            }
            try:
                answer = ask(self.url, "POST", "/v1/chat/completions", body)
                self.counts["whole" if b"[DONE]" in answer else "cut"] += 1
            except (OSError, HTTPException):
                self.counts["failed"] += 1


def measure(place: Place, *, number: int, kills: int, streams: int, seconds: float, seed: int) -> bool:
    """Run a batch through so many kills, print what became of it; return whether all is there once."""
    random = Random(seed)
    daemon = place.start()
    people = Streams(streams)
    people.url = daemon.url
    began = time.monotonic()
    batch = submit(people.url, lines(random, number, 20, 24))
    done: Counter[str] = Counter()
    in_flight = 0
    try:
        with people.running():
            gap = seconds / (kills + 1) / 2
            for _ in range(kills):
                threading.Event().wait(random.uniform(0.2 * gap, 1.8 * gap))
                if random.random() < 0.5:
                    in_flight += _open_lines(daemon)
                    daemon.process.kill()
                    daemon.process.wait()
                    done["daemon"] += 1
                    daemon = place.start()
                    people.url = daemon.url
                else:
                    done["replica"] += _kill_one(place, random)
            found = await_end(lambda: people.url, batch, max(30.0, 2 * seconds))
        took = time.monotonic() - began
        result = outcome(people.url, found, number)
    finally:
        daemon.end()
        daemon.leftovers()
    answered = Counter(one for one in place.request_ids() if one.startswith("batch_req_"))
    twice = sum(count - 1 for count in answered.values())
    sys.stdout.write(
        f"{number:,} lines, {done['daemon']} kills of the daemon and {done['replica']} of replicas, "
        f"{took:.0f} s: {result.state}, lost {result.lost}, duplicates {result.duplicates}, failed "
        f"{result.failed}; repeated: {twice} had been answered, at most {in_flight} were being answered; "
        f"streams beside: {dict(people.counts)}\n"
    )
    return (result.state, result.lost, result.duplicates, result.failed) == ("completed", 0, 0, 0)


def _open_lines(daemon: Daemon) -> int:
    """Return how many slots are taken, which are lines and streams."""
    with contextlib.suppress(RelaydError):
        return sum(one["running"] for one in daemon.status()["models"])
    return 0


def _kill_one(place: Place, random: Random) -> int:
    """Kill a replica; return how many were."""
    servers = [one for one in tagged_processes(place.home) if _is_server(one)]
    if not servers:
        return 0
    with contextlib.suppress(ProcessLookupError):
        os.kill(random.choice(servers).pid, signal.SIGKILL)
    return 1


def _is_server(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "llama-server" in process.name()
    return False

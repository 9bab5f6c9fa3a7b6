"""Does the ledger show what the system shows, whatever ends a replica?

    python -m tests.bench.exact [--rounds 50] [--seed 1]

Five small models, room for two, four clients that ask for one at random. In each round a replica is killed,
loaded or unloaded by command or by force, or the daemon itself is killed or replaced. After it clients rest,
and the replicas that the ledger counts are compared with the processes that run, and its bytes with their
plans. Exits 1 where they differ, or where a request got no answer.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from relayd.cli.engine import lend_installer
from relayd.engine import ensure
from relayd.errors import DaemonError
from relayd.folders import cache_dir
from tests.daemons import DEADLINE_SECONDS, FAST, Daemon, tagged_processes
from tests.ggufs import TINY, make_model

NAMES = "abcde"
_CHANGING = frozenset({"waiting", "starting", "draining", "stopping", "exited", "backoff"})


class Clients:
    """Four clients that ask for a random model until they are told to stop."""

    def __init__(self, seed: int) -> None:
        self.url = ""
        self.answered: Counter[str] = Counter()
        self.why: set[str] = set()
        self._over = threading.Event()
        self._may_ask = threading.Event()
        self._open = 0
        self._threads = [threading.Thread(target=self._ask, args=(seed + number,)) for number in range(4)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def rest(self) -> None:
        """Ask nothing more until `go_on`, and wait for the last answer."""
        self._may_ask.clear()
        while self._open:
            self._over.wait(0.01)

    def go_on(self) -> None:
        self._may_ask.set()

    def stop(self) -> None:
        self._over.set()
        self._may_ask.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, seed: int) -> None:
        dice = random.Random(seed)
        while self._may_ask.wait() and not self._over.is_set():
            self._open += 1
            body = json.dumps({"model": dice.choice(NAMES), "prompt": "hi", "max_tokens": 4}).encode()
            request = urllib.request.Request(
                self.url + "/v1/completions", body, {"Content-Type": "application/json"}
            )
            try:
                with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as answer:
                    answer.read()
                    self.answered["200"] += 1
            except urllib.error.HTTPError as error:
                self.answered[str(error.code)] += 1
                self.why.add(error.read().decode(errors="replace")[:200])
                error.close()
            except OSError:
                self.answered["connection"] += 1  # while the daemon is killed
                self._over.wait(0.05)
            finally:
                self._open -= 1


def main() -> None:
    """Do it, and print what was done and what was found."""
    parser = argparse.ArgumentParser(description="Compare the ledger with the system.")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="x"))
    make_model(home / "a.gguf", TINY)
    for name in NAMES[1:]:
        shutil.copy(home / "a.gguf", home / f"{name}.gguf")
    with lend_installer() as installer:
        engine = ensure(installer, cache=cache_dir() / "engine").path
    lines = "".join(
        f'[[model]]\nname = "{name}"\nfile = "{home / name}.gguf"\nload = "demand"\nslots = 2\n'
        "context = 2048\ncache_ram_mib = 0\nthreads = 1\n"
        for name in NAMES
    )
    config = f"[memory]\nhost_mib = 35\nmin_resident_seconds = 0\nswap_turn_seconds = 0.5\n{FAST}{lines}"
    daemons: list[Daemon] = []

    def begin() -> Daemon:
        daemon = Daemon(home, engine, config, ("--listen", "127.0.0.1:18431"), {})
        daemons.append(daemon)
        daemon.await_event("listening")
        return daemon

    clients, dice = Clients(options.seed), random.Random(options.seed)
    wrong, done = [], Counter[str]()
    try:
        begin()
        clients.url = daemons[-1].url
        clients.start()
        clients.go_on()
        for number in range(options.rounds):
            what = dice.choice(("kill", "kill", "unload", "force", "load", "load", "daemon", "upgrade"))
            done[what] += 1
            act(what, daemons, begin, dice)
            clients.rest()
            if found := settled(daemons[-1], home):
                wrong.append(f"round {number}, {what}: {found}")
                print(wrong[-1], flush=True)
            clients.go_on()
    finally:
        clients.stop()
        for daemon in daemons:
            daemon.end()
        shutil.rmtree(home, ignore_errors=True)
    print(f"{sum(done.values())} rounds: {dict(done)}; answers {dict(clients.answered)}; wrong {len(wrong)}")
    for why in sorted(clients.why):
        print(f"  {why}")
    sys.exit(bool(wrong) or set(clients.answered) - {"200", "connection"} != set())


def act(what: str, daemons: list[Daemon], begin: Callable[[], Daemon], dice: random.Random) -> None:
    """End something."""
    daemon, name = daemons[-1], dice.choice(NAMES)
    match what:
        case "kill":
            pids = [one["pid"] for one in daemon.replicas().values() if one["pid"]]
            if pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(dice.choice(pids), signal.SIGKILL)
        case "daemon":
            os.kill(daemon.status()["pid"], signal.SIGKILL)
            begin()
        case "upgrade":
            daemon.client.upgrade(5)
        case "load":
            daemon.client.load(name)
        case _:
            daemon.client.unload(name, force=what == "force")


def settled(daemon: Daemon, home: Path) -> str:
    """Return in what the ledger and the system differ; looked at until they agree, for ten seconds."""
    ends_at = time.monotonic() + 10
    found = "no status"
    while time.monotonic() < ends_at:
        try:
            found = compared(daemon.status(), home)
        except DaemonError as error:
            found = str(error)
        if not found:
            return ""
        threading.Event().wait(0.05)
    return found


def compared(report: dict[str, Any], home: Path) -> str:
    """Return in what a report and the system differ."""
    replicas = [one for model in report["models"] for one in model["replicas"]]
    alive = {one["pid"] for one in replicas if one["pid"]}
    running = {one.pid for one in tagged_processes(home)}
    (host,) = report["memory"]["accounts"]
    planned = sum(sum(one["memory"]["planned"]["bytes"].values()) for one in replicas if one["pid"])
    if alive != running:
        return f"replicas {sorted(alive)}, processes {sorted(running)}"
    if host["planned"] != planned:
        return f"ledger {host['planned']}, plans of what runs {planned}"
    if host["held"] > host["capacity"]:
        return f"{host['held']} held of {host['capacity']}"
    return ""


if __name__ == "__main__":
    main()

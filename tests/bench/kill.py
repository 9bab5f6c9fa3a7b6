"""How much do clients notice when a replica dies under load? `python -m tests.bench.kill`

Two replicas of a slow model, streams at once, one replica killed with SIGKILL in the middle.
"""

import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from relayd.cli.engine import lend_installer
from relayd.engine import ensure
from relayd.folders import cache_dir
from relayd.units import show_bytes
from tests.daemon.test_faults import ask, await_load, await_replicas, config, is_ready
from tests.daemons import Daemon
from tests.ggufs import SLOW, make_model

STREAMS = 50
TOKENS = 60


def main() -> None:
    """Run once and print what happened."""
    home = Path(tempfile.mkdtemp(prefix="k"))
    with lend_installer() as installer:
        engine = ensure(installer, cache=cache_dir() / "engine")
    text = config(make_model(home / "slow.gguf", SLOW), slots=4, replicas=2)
    daemon = Daemon(home, engine.path, text, (), {})
    try:
        daemon.await_event("try")
        _measure(daemon)
        started = time.monotonic()
        stopped = daemon.run("stop")
        print(f"stop: exit {stopped.returncode} after {time.monotonic() - started:.1f} s")
    finally:
        daemon.end()
        print(f"left behind: {daemon.leftovers() or 'nothing'}")
        shutil.rmtree(home)


def _measure(daemon: Daemon) -> None:
    process = psutil.Process(daemon.process.pid)
    print(f"daemon idle: {show_bytes(process.memory_info().rss)} resident")
    before = daemon.replicas()
    started = time.monotonic()
    with ThreadPoolExecutor(STREAMS) as pool:
        requests = [pool.submit(ask, daemon.url, TOKENS) for _ in range(STREAMS)]
        await_load(daemon, waiting=STREAMS - 8, running=8)
        print(f"with {STREAMS} streams: {show_bytes(process.memory_info().rss)} resident")
        os.kill(before["slow#0"]["pid"], signal.SIGKILL)
        killed = time.monotonic()
        await_replicas(daemon, lambda one: one["name"] != "slow#0" or one["incarnation"] == 2)
        after = await_replicas(daemon, is_ready)
        print(f"the killed replica was ready again after {time.monotonic() - killed:.2f} s")
        outcomes = [request.result() for request in requests]
    whole = sum(outcome.done for outcome in outcomes)
    print(f"{STREAMS} streams in {time.monotonic() - started:.1f} s: {whole} whole")
    failed = Counter(f"status {each.status}, {each.error}" for each in outcomes if not each.done)
    for reason, count in failed.items():
        print(f"  {count} failed: {reason}")
    print(f"incarnations: { {name: replica['incarnation'] for name, replica in after.items()} }")


if __name__ == "__main__":
    main()

"""What does a request, and a streamed chunk, cost in relayd and in the routers beside it?

    python -m tests.bench [--only nginx,relayd] [--scenarios requests,chunks] [--rounds 3] [--json FILE]

relayd runs as users run it: `serve`, a key, the queue, request ids, the request log. Behind every
router stands the same scripted engine, so only the router is measured: the CPU time of its own
process, for each request or chunk. The machine is rarely quiet, so compare ratios of one run, not
figures of two. Routers that are not installed are left out (nginx, haproxy: apt; vllm-router,
sglang-router: PyPI). Needs a llama-server: LLAMA_SERVER_PATH, or the one that relayd has installed.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from relayd.cli.engine import lend_installer
from relayd.engine import ensure
from relayd.folders import cache_dir
from tests.bench.load import SCENARIOS
from tests.bench.peers import Peer, free_port, peers, write_engine
from tests.ggufs import TINY, make_model

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario on one router.

    Attributes:
        peer: Which router.
        scenario: What clients did.
        cost_us: CPU microseconds of the router for each request, or chunk of a stream.
        memory_mib: What its process holds (PSS).
        seen: What the clients measured.
    """

    peer: str
    scenario: str
    cost_us: float
    memory_mib: float
    seen: dict[str, float]


def main() -> None:
    """Measure, print a table, and write the rows as JSON if asked to."""
    parser = argparse.ArgumentParser(description="Measure the CPU cost of the data path.")
    parser.add_argument("--only", default="", help="routers, with commas between them; all by default")
    parser.add_argument("--scenarios", default="one,requests,prompts,chunks", help=", ".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--relayd", default=str(Path(sys.executable).with_name("relayd")))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="b"))
    try:
        scenarios = options.scenarios.split(",")
        rows = list(_measure(folder, options.relayd, options.only, scenarios, options.rounds))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for line in table(rows):
        print(line)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


def _measure(folder: Path, relayd: str, only: str, scenarios: list[str], rounds: int) -> Iterator[Row]:
    make_model(folder / "tiny.gguf", TINY)
    write_engine(folder, _real_engine(), sys.executable)
    tcp = free_port()
    found = peers(folder, relayd, tcp)
    wanted = [found[name] for name in (only.split(",") if only else found) if name in found]
    with _running(_engine(str(folder / "engine.sock"))), _running(_engine(str(tcp))):
        for number in range(rounds):
            for peer in wanted:
                for row in _measure_peer(folder, peer, scenarios):
                    shown = f"{row.peer:14} {row.scenario:10} {row.cost_us:8.1f} µs {row.memory_mib:5.0f} MiB"
                    print(f"round {number + 1}  {shown}  errors {row.seen['errors']:.0f}", flush=True)
                    yield row


def _measure_peer(folder: Path, peer: Peer, scenarios: list[str]) -> Iterator[Row]:
    with _running(peer.command, folder) as process:
        _await_answer(peer, process)
        ours = [process, *(process.children(recursive=True) if peer.has_children else [])]
        _load(peer.port, "one")
        for scenario in scenarios:
            before = cpu_seconds(ours)
            seen = _load(peer.port, scenario)
            used = cpu_seconds(ours) - before
            count = seen["chunks" if SCENARIOS[scenario].stream else "requests"]
            memory = sum(one.memory_full_info().pss for one in ours) / 2**20
            yield Row(peer.name, scenario, used / max(count, 1) * 1e6, memory, seen)


def table(rows: list[Row]) -> Iterator[str]:
    """Yield the medians, each beside its ratio to nginx."""
    names = list(dict.fromkeys(row.peer for row in rows))
    yield f"{'':10} " + " ".join(f"{name:>20}" for name in names)
    for scenario in dict.fromkeys(row.scenario for row in rows):
        costs = {name: _median(rows, name, scenario) for name in names}
        nginx = costs.get("nginx", float("nan"))
        cells = (f"{cost:10.1f} µs {cost / nginx:5.2f} x" for cost in costs.values())
        yield f"{scenario:10} " + " ".join(f"{cell:>20}" for cell in cells)
    errors = sum(row.seen["errors"] for row in rows)
    yield f"CPU of the router's own process for each request or chunk; errors: {errors:.0f}"


def _median(rows: list[Row], peer: str, scenario: str) -> float:
    return statistics.median(
        [row.cost_us for row in rows if (row.peer, row.scenario) == (peer, scenario)] or [float("nan")]
    )


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """Return the CPU time of all threads of some processes, to the nanosecond where the system counts so."""
    total = 0.0
    for process in processes:
        try:
            tasks = Path(f"/proc/{process.pid}/task").iterdir()
            total += sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        except OSError:
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _load(port: int, scenario: str) -> dict[str, float]:
    command = (sys.executable, "-m", "tests.bench.load", str(port), scenario)
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    return {name: float(value) for name, value in json.loads(said).items()}


def _engine(host: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.bench.engine", host)


@contextmanager
def _running(command: tuple[str, ...], folder: Path | None = None) -> Iterator[psutil.Process]:
    env = dict(os.environ)
    if folder:
        env |= {"HOME": str(folder), "XDG_STATE_HOME": f"{folder}/s", "XDG_CONFIG_HOME": f"{folder}/c"}
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, cwd=folder or ROOT, env=env) as child:
        try:
            yield psutil.Process(child.pid)
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()


def _await_answer(peer: Peer, process: psutil.Process, seconds: float = 120) -> None:
    """Wait until a router answers by all that is behind it, and a second longer."""
    ends_at = time.monotonic() + seconds
    while not _is_up(peer.port):
        if time.monotonic() > ends_at or _ended(process, 0.2):
            raise SystemExit(f"{peer.name} does not answer")
    _ended(process, 1)


def _is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return b'"ok"' in answer.read()
    except OSError:
        return False


def _ended(process: psutil.Process, seconds: float) -> bool:
    """Return whether a process ends within so many seconds."""
    try:
        process.wait(seconds)
    except psutil.TimeoutExpired:
        return False
    return True


def _real_engine() -> Path:
    if path := os.environ.get("LLAMA_SERVER_PATH"):
        return Path(path)
    with lend_installer() as installer:
        return ensure(installer, cache=cache_dir() / "engine").path


if __name__ == "__main__":
    main()

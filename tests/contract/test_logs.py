"""S53 to S59: logs that nobody waits for, and that nothing stops."""

import ast
import asyncio
import os
import resource
import shutil
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from queue import Queue
from threading import Event, Thread

import psutil
import pytest

from relayd.client.unix import UnixConnection
from relayd.printable import printable
from relayd.supervisor.logs import LogReader
from relayd.supervisor.rotation import Rotation, rotate
from relayd.supervisor.state import State
from tests.contract.stage import Stage, pid_of, until
from tests.contract.test_adoption import await_incarnation, complete, through
from tests.daemons import DEADLINE_SECONDS, Daemon, home_environ

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.fake
def test_s53_a_daemon_that_can_write_nothing_serves_and_recovers(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str]
) -> None:
    daemon = start_faked(faulty(m="", other=""))
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    os.kill(daemon.replicas()["other#0"]["pid"], signal.SIGSEGV)
    for _ in range(5):
        assert complete(through(daemon), model="m")["choices"]
    assert "ready" == daemon.replicas()["m#0"]["state"]

    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    daemon.client.start()
    assert "ready" == daemon.replicas()["other#0"]["state"]


@pytest.mark.fake
def test_s54_a_log_that_is_written_all_the_time_stays_bounded(stage: Stage) -> None:
    stage.program = ("/bin/sh", "-c", "while :; do echo a line that is written without end; done")
    replica = stage.replica()
    log = stage.home / "logs" / "m.0.log"
    sizes: list[int] = []

    async def story() -> None:
        replica.start()
        await until(lambda: replica.status().pid)
        looking = [(log, pid_of(replica))]
        rotation = Rotation(lambda: looking, lambda: (20_000, 2), stage.clock, every_seconds=0.01)
        task = asyncio.create_task(rotation.run())
        while sum(later < earlier for earlier, later in pairwise(sizes)) < 3:
            sizes.append(log.stat().st_size)
            await asyncio.sleep(0.005)
        task.cancel()

    stage.play(story, replica)
    assert {"m.0.log", "m.0.log.1", "m.0.log.2"} >= {file.name for file in log.parent.iterdir()}
    assert b"\0" not in log.read_bytes()


@pytest.mark.system
def test_s55_a_line_of_100_mb_is_read_in_bounds(tmp_path: Path) -> None:
    log = tmp_path / "m.0.log"
    log.write_bytes(b"\x1b[31m\xff\xfe" * 1000)
    os.truncate(log, 100_000_000)
    with log.open("ab") as file:
        file.write(b"\nnext\n")
    tracemalloc.start()
    try:
        first, second = LogReader(log).read()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 4_000_000
    assert printable(first.text).isprintable()
    assert "95 MiB left out" in first.text
    assert "next" == second.text


@pytest.mark.fake
def test_s56_a_log_that_was_deleted_comes_back(stage: Stage) -> None:
    replica = stage.replica()
    log = stage.home / "logs" / "m.0.log"

    async def story() -> None:
        replica.start()
        await replica.reached(State.READY)
        looking = [(log, pid_of(replica))]
        rotation = Rotation(lambda: looking, lambda: (1_000_000, 1), stage.clock, every_seconds=0.01)
        task = asyncio.create_task(rotation.run())
        log.unlink()
        await until(lambda: log.exists() and "GET /health" in log.read_text())
        task.cancel()
        shutil.rmtree(log.parent)
        os.kill(pid_of(replica), signal.SIGSEGV)
        await until(lambda: replica.status().incarnation == 2)
        await replica.reached(State.READY)
        assert "incarnation 2 begins" in log.read_text()

    stage.play(story, replica)


@pytest.fixture
def follow(home: Path) -> Iterator[tuple[subprocess.Popen[str], "Queue[str]"]]:
    """`relayd logs m -f`, and the lines it prints."""
    folder = home / "state" / "relayd" / "logs"
    folder.mkdir(parents=True)
    (folder / "m.0.log").write_text("before\n")
    command = [sys.executable, "-m", "relayd", "logs", "m", "-f"]
    lines: Queue[str] = Queue()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=home_environ(home), text=True) as process:

        def read() -> None:
            for line in process.stdout or ():
                lines.put(line.rstrip("\n"))

        reader = Thread(target=read)
        reader.start()
        yield process, lines
        process.kill()
        reader.join()


@pytest.mark.system
def test_s57_following_goes_on_over_rotation_and_deletion_and_ends_with_130(
    follow: tuple[subprocess.Popen[str], "Queue[str]"], home: Path
) -> None:
    process, lines = follow
    log = home / "state" / "relayd" / "logs" / "m.0.log"

    def write(text: str) -> None:
        with log.open("a") as file:
            file.write(text)

    def read() -> str:
        return lines.get(timeout=DEADLINE_SECONDS)

    assert "before" == read()
    write("one\n")
    assert "one" == read()
    write("two\n")
    rotate(log, max_bytes=1, backups=1)
    write("three\n")
    assert ["two", "three"] == [read(), read()]
    log.unlink()
    write("relayd: 2026-11-20T09:00:00.000Z m#0 incarnation 2 begins\n")
    assert "incarnation 2" in read()

    process.send_signal(signal.SIGINT)
    assert 130 == process.wait(DEADLINE_SECONDS)


@pytest.mark.real
def test_s58_replicas_serve_and_log_while_the_daemon_hangs(demo: Daemon) -> None:
    replica = demo.replicas()["demo#0"]
    socket = Path(replica["address"].removeprefix("unix:"))
    key = socket.with_suffix(".key").read_text().strip()
    demo.process.send_signal(signal.SIGSTOP)
    try:
        while psutil.Process(demo.process.pid).status() != psutil.STATUS_STOPPED:
            Event().wait(0.005)
        assert complete(UnixConnection(socket, DEADLINE_SECONDS), key, "demo")["choices"]
    finally:
        demo.process.send_signal(signal.SIGCONT)
    files = {Path(f"/proc/{replica['pid']}/fd/{number}").readlink() for number in (1, 2)}
    assert {Path(replica["log"])} == files, "a pipe would fill up"


@pytest.mark.fake
def test_s57_the_log_of_one_replica_spans_two_daemons(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str]
) -> None:
    first = start_faked(faulty(m=""))
    first.process.kill()
    first.process.wait()
    second = start_faked(faulty(m=""))
    os.kill(second.replicas()["m#0"]["pid"], signal.SIGSEGV)
    await_incarnation(second, "m#0", 2)

    shown = second.run("logs", "m#0", "--grep", "incarnation .* begins", "--since", "5m").stdout
    assert ["1", "2"] == [line.split()[-2] for line in shown.splitlines()]


@pytest.mark.pure
def test_s59_the_daemon_reads_no_log() -> None:
    """Commands read log files themselves; only the last words of a replica that ended are read for it.

    `daemon/logfeed` reads on a thread, for an administrator who asks over TCP.
    """
    users = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "relayd").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and "LogReader" in {alias.name for alias in node.names}
    }

    commands = {f"relayd/cli/{name}.py" for name in ("logs", "requests", "top")}
    assert commands | {"relayd/daemon/logfeed.py"} == users

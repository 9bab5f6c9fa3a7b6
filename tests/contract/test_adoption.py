"""S32 to S45: the daemon dies, its replicas do not, and nothing is ever started twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest

from relayd.client.unix import UnixConnection
from relayd.endpoint import TcpAddress, UnixAddress
from relayd.lock import Lock
from relayd.supervisor.child import Files
from relayd.supervisor.identity import start_mark
from relayd.supervisor.orphans import end_orphans
from relayd.supervisor.state import State
from tests.contract import crashing
from tests.contract.stage import Stage, launched, on_both, pid_of, until
from tests.daemon.test_faults import config
from tests.daemons import DEADLINE_SECONDS, Daemon, tagged_processes

PROMPT = "once upon a time there was a replica that outlived its daemon " * 8


def complete(connection: HTTPConnection, key: str = "", model: str = "slow") -> dict[str, Any]:
    """Ask for two tokens after a long prompt and return the answer."""
    body = {"model": model, "prompt": PROMPT, "max_tokens": 2, "cache_prompt": True}
    fields = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    try:
        connection.request("POST", "/v1/completions", json.dumps(body), fields)
        response = connection.getresponse()
        assert 200 == response.status
        return dict(json.loads(response.read()))
    finally:
        connection.close()


def through(daemon: Daemon) -> HTTPConnection:
    host, port = daemon.url.removeprefix("http://").split(":")
    return HTTPConnection(host, int(port), timeout=DEADLINE_SECONDS)


def kill(daemon: Daemon) -> None:
    daemon.process.kill()
    daemon.process.wait()


def await_incarnation(daemon: Daemon, replica: str, number: int) -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        found = daemon.replicas()[replica]
        if (found["incarnation"], found["state"]) == (number, "ready"):
            return found
        assert time.monotonic() < deadline, found
        Event().wait(0.01)


def pids(daemon: Daemon) -> dict[str, int]:
    return {name: replica["pid"] for name, replica in daemon.replicas().items()}


@pytest.mark.real
def test_s32_s33_s34_replicas_outlive_the_daemon_and_serve_the_next_one(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    text = config(slow_model, replicas=2, slots=1)
    first = start_daemon(text)
    before = first.replicas()
    for _ in range(2):
        complete(through(first))
    kill(first)

    log = Path(before["slow#0"]["log"])
    written = log.stat().st_size
    socket = Path(before["slow#0"]["address"].removeprefix("unix:"))
    key = socket.with_suffix(".key").read_text().strip()
    assert complete(UnixConnection(socket, DEADLINE_SECONDS), key)["choices"]
    assert log.stat().st_size > written, "it goes on to log"

    second = start_daemon(text, wait=False)
    answer = complete(through(second))
    assert answer["timings"]["cache_n"] > 400, "its prompt cache is still warm"
    assert {name: one["pid"] for name, one in before.items()} == pids(second)
    assert 1 == log.read_text().count("model loaded")

    os.kill(before["slow#0"]["pid"], signal.SIGKILL)
    replica = await_incarnation(second, "slow#0", 2)
    assert "vanished" == replica["last_exit"]["cause"]


@pytest.fixture
def innocent() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is not relayd's, in a group of its own."""
    with subprocess.Popen(("sleep", "60"), start_new_session=True) as process:
        yield process
        process.kill()


@pytest.mark.real
def test_s35_s36_a_recycled_pid_and_another_boot_are_not_believed(
    start_daemon: Callable[..., Daemon], tiny_model: Path, innocent: subprocess.Popen[bytes]
) -> None:
    text = config(tiny_model, replicas=3, slots=1)
    first = start_daemon(text)
    before = pids(first)
    kill(first)
    for replica, lie in (
        ("slow#0", {"pid": innocent.pid}),
        ("slow#1", {"started": "1"}),
        ("slow#2", {"boot_id": "another"}),
    ):
        record = first.runtime / f"{Files.of(first.runtime, replica).stem}.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | lie))

    second = start_daemon(text)
    assert not set(before.values()) & set(pids(second).values())
    assert 3 == len(tagged_processes(second.home))
    assert innocent.poll() is None


@pytest.mark.real
def test_s37_a_runtime_folder_that_was_wiped_makes_no_twins(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    text = config(tiny_model, replicas=2, slots=1)
    first = start_daemon(text)
    before = pids(first)
    kill(first)
    for file in first.runtime.iterdir():
        file.unlink()

    second = start_daemon(text)
    assert not set(before.values()) & set(pids(second).values())
    assert 2 == len(tagged_processes(second.home))
    assert "daemon.ended_orphans" in second.run("logs", "--grep", "orphans").stdout


@pytest.mark.fake
@on_both
def test_s38_a_record_that_makes_no_sense_is_put_aside_and_the_others_hold(stage: Stage) -> None:
    names = ("a", "b", "c", "d")
    launcher = stage.launcher()
    children = {name: launched(launcher, stage.planned(name=name), 1) for name in names}
    try:
        for name, bytes_ in (("a", b'{"replica": "a#0"'), ("b", b"\0\xff"), ("c", b'{"schema": 99}')):
            record = children[name].files.lock.with_suffix(".json")
            record.write_bytes(bytes_)
        adopted = {name: stage.launcher().adopt(stage.planned(name=name)) for name in names}

        assert [None, None, None] == [adopted[name] for name in "abc"]
        assert adopted["d"]
        assert children["d"].pid == adopted["d"].child.pid
        assert 3 == len(list(stage.runtime.glob("*.json.corrupt-1")))
        assert stage.launcher().adopt(stage.planned(name="a")) is None
    finally:
        for child in children.values():
            child.signal(signal.SIGKILL)
            child.reap()


@pytest.mark.fake
def test_s39_s40_a_plan_that_changed_meanwhile_replaces_only_what_it_changes(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str]
) -> None:
    first = start_faked(faulty(same="", other="", removed=""))
    before = pids(first)
    kill(first)
    second = start_faked(faulty(same="", other="load=0.01"))
    after = pids(second)

    assert {"same#0", "other#0"} == after.keys()
    assert before["same#0"] == after["same#0"]
    assert not psutil.pid_exists(before["other#0"])
    assert not psutil.pid_exists(before["removed#0"])
    removed = Files.of(second.runtime, "removed#0").stem
    assert [] == list(second.runtime.glob(f"{removed}*"))


@pytest.mark.fake
@on_both
def test_s41_a_lock_that_a_stranger_holds_is_respected_until_it_is_free(stage: Stage) -> None:
    replica = stage.replica()
    lock = Lock.try_take(Files.of(stage.runtime, "m#0").lock)
    assert lock

    async def story() -> None:
        assert not replica.adopt()
        replica.start()
        assert State.BACKOFF is await replica.reached(State.BACKOFF)
        last = replica.status().last_exit
        assert last
        assert "another process holds m#0" in last.message
        assert {} == stage.living()
        lock.close()
        await replica.reached(State.READY)

    stage.play(story, replica)


STEPS = tuple(crashing.STEPS)


@pytest.mark.fake
def test_s42_a_daemon_killed_at_any_step_of_a_launch_leaves_one_process_in_the_end(
    fake_engine: Path, home: Path
) -> None:
    stages = {step: Stage(fake_engine, home / step) for step in STEPS}
    for stage in stages.values():
        stage.home.mkdir()
    daemon = [sys.executable, "-m", "tests.contract.crashing", str(fake_engine), str(home), *STEPS]
    subprocess.run(daemon, check=True)
    for step, stage in stages.items():
        assert (step in ("started", "spawned", "recorded")) == bool(stage.living()), step
        come_back(stage, adopting=step == "recorded")


def come_back(stage: Stage, *, adopting: bool) -> None:
    """Do what a daemon does at its start, and find one process in the end."""
    replica = stage.replica()

    async def story() -> None:
        assert adopting == replica.adopt()
        await end_orphans(stage.runtime, {pid_of(replica)} if adopting else (), patience_seconds=5)
        replica.start()
        await replica.reached(State.READY)
        assert [pid_of(replica)] == list(stage.living())

    stage.play(story, replica)


@pytest.mark.system
def test_s43_a_zombie_has_no_start(innocent: subprocess.Popen[bytes]) -> None:
    assert start_mark(innocent.pid)
    innocent.kill()
    while psutil.Process(innocent.pid).status() != psutil.STATUS_ZOMBIE:
        Event().wait(0.005)

    assert start_mark(innocent.pid) is None


@pytest.mark.fake
def test_s44_of_two_daemons_that_start_together_one_lives(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str]
) -> None:
    text = faulty(m="")
    daemons = [start_faked(text, wait=False) for _ in range(2)]
    deadline = time.monotonic() + DEADLINE_SECONDS
    while all(daemon.process.poll() is None for daemon in daemons):
        assert time.monotonic() < deadline
        Event().wait(0.01)
    winner, loser = sorted(daemons, key=lambda daemon: daemon.process.poll() is not None)

    assert 5 == loser.end()
    assert f"pid {winner.process.pid}" in loser._events.get()["error"]["message"]
    assert "ready" == winner.await_event("replica")["state"]
    assert winner.process.pid == winner.status()["pid"]
    assert winner.process.pid == int((winner.runtime / "relayd.lock").read_text())


@pytest.mark.fake
def test_s45_what_a_killed_replica_left_does_not_hinder_the_next_one(stage: Stage) -> None:
    child = launched(stage.launcher(), stage.planned(), 1)
    assert isinstance(child.endpoint.address, UnixAddress)
    while not child.endpoint.address.path.exists():
        Event().wait(0.005)
    child.signal(signal.SIGKILL)
    assert child.process
    child.process.wait()
    assert child.endpoint.address.path.exists(), "nobody has tidied up"
    replica = stage.replica()

    async def story() -> None:
        replica.start()
        await replica.reached(State.READY)

    stage.play(story, replica)


@pytest.mark.fake
@on_both
def test_what_a_daemon_left_running_is_adopted_where_it_listens(stage: Stage) -> None:
    child = launched(stage.launcher(), stage.planned(), 3)
    replica = stage.replica()

    async def story() -> None:
        assert replica.adopt()
        await replica.reached(State.READY)
        status = replica.status()
        assert (child.pid, 3) == (status.pid, status.incarnation)
        assert str(child.endpoint.address) == status.address
        assert bool(stage.ports) == isinstance(child.endpoint.address, TcpAddress)
        os.kill(child.pid, signal.SIGKILL)
        assert child.process
        child.process.wait()  # it is this process's child all the same
        await until(lambda: replica.status().incarnation == 4)
        await replica.reached(State.READY)

    stage.play(story, replica)

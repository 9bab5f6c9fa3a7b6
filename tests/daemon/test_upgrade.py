"""A daemon gives its place to a new one, and clients do not notice."""

import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.daemon.test_faults import ask, await_load, await_replicas, config, is_ready
from tests.daemons import DEADLINE_SECONDS, Daemon, sabotage_successors
from tests.ggufs import SLOW, make_model

pytestmark = pytest.mark.real

PREDECESSOR = "import relayd.handover.predecessor as module; module.Predecessor."
STEPS = {
    "before it knows what to run": "os.abort()",
    "once it has the lock": f"{PREDECESSOR}commit = lambda self: os.abort()",
}
HESITANT = """import asyncio, pathlib, relayd.handover.predecessor as module
    take = module.Predecessor.commit
    async def commit(self):
        pathlib.Path(FOLDER, "hesitates").touch()
        while pathlib.Path(FOLDER, "hesitates").exists():
            await asyncio.sleep(0.01)
        return await take(self)
    module.Predecessor.commit = commit"""
"""Has the lock, and takes no further step as long as a file is there."""


LONG = 1000
"""Tokens of a stream that outlasts an upgrade: 4 to 8 s of one thread, where the upgrade takes 1.5 s."""


def upgrade(daemon: Daemon, *options: str) -> int:
    """Return the pid of the daemon that has taken over."""
    done = daemon.run("upgrade", "--json", *options)
    assert 0 == done.returncode, done.stdout + done.stderr
    return int(json.loads(done.stdout)["pid"])


def refused_upgrade(daemon: Daemon) -> str:
    done = daemon.run("upgrade", "--json")
    assert 1 == done.returncode, done.stdout
    return str(json.loads(done.stdout)["error"]["message"])


def pids(daemon: Daemon) -> dict[str, int]:
    return {name: one["pid"] for name, one in daemon.replicas().items()}


def is_settled(replica: dict[str, Any]) -> bool:
    return replica["state"] in ("ready", "stopped")


def await_file(path: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, path
        Event().wait(0.01)


def test_under_load_no_request_fails_and_no_replica_restarts(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    text = config(slow_model, slots=4, replicas=2)
    daemon = start_daemon(text.replace("drain_seconds = 600", "drain_seconds = 0.1"))
    before = pids(daemon)
    with ThreadPoolExecutor(30) as pool:
        streams = [pool.submit(ask, daemon.url, 150) for _ in range(20)]
        await_load(daemon, waiting=12, running=8)
        new = upgrade(daemon)
        requests = [pool.submit(ask, daemon.url, 3, stream=False) for _ in range(10)]
        outcomes = [stream.result() for stream in streams]
        assert all(outcome.done for outcome in outcomes), outcomes
        assert {200} == {request.result().status for request in requests}
    assert 0 == daemon.process.wait(DEADLINE_SECONDS)

    assert before == pids(daemon)
    assert new == daemon.status()["pid"]
    assert ask(daemon.url, 3).done


@pytest.mark.parametrize("options", [(), ("--drain", "0")])
def test_connections_that_are_kept_go_over(
    start_daemon: Callable[..., Daemon], tiny_model: Path, options: tuple[str, ...]
) -> None:
    daemon = start_daemon(config(tiny_model).replace("[server]", "[server]\nheader_seconds = 300"))
    host, port = daemon.url.removeprefix("http://").split(":")
    used, unused = (HTTPConnection(host, int(port), timeout=DEADLINE_SECONDS) for _ in range(2))
    used.request("GET", "/healthz")
    used.getresponse().read()
    unused.connect()
    opened = [used.sock, unused.sock]
    upgrade(daemon, *options)
    assert 0 == daemon.process.wait(DEADLINE_SECONDS)
    for connection in (used, unused, used):
        connection.request("GET", "/v1/models")
        answer = connection.getresponse()
        assert (200, True) == (answer.status, b"slow" in answer.read())

    assert opened == [used.sock, unused.sock], "a connection was opened again"
    used.close()
    unused.close()


def test_what_outlasts_the_drain_is_answered_with_the_reason(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(config(slow_model, slots=1))
    with ThreadPoolExecutor(2) as pool:
        stream = pool.submit(ask, daemon.url, LONG)
        await_load(daemon, waiting=0, running=1)
        waiting = pool.submit(ask, daemon.url, 3)
        await_load(daemon, waiting=1, running=1)
        upgrade(daemon, "--drain", "0")
        outcomes = [stream.result(), waiting.result()]
    assert 0 == daemon.process.wait(DEADLINE_SECONDS)

    assert [(200, "cut, told"), (503, "error")] == [(one.status, one.error) for one in outcomes]
    logged = [
        json.loads(line)
        for line in (daemon.home / "state" / "relayd" / "logs" / "requests.jsonl").read_text().splitlines()
    ]
    assert [("cut", 200), ("refused", 503)] == sorted((one["ended"], one["status"]) for one in logged)


@pytest.mark.parametrize("step", STEPS)
def test_a_new_daemon_that_crashes_changes_nothing(
    start_daemon: Callable[..., Daemon], slow_model: Path, home: Path, step: str
) -> None:
    daemon = start_daemon(config(slow_model, slots=1), PYTHONPATH=str(home))
    before = pids(daemon)
    sabotage_successors(home, STEPS[step])
    with ThreadPoolExecutor(2) as pool:
        streams = [pool.submit(ask, daemon.url, 150) for _ in range(2)]
        await_load(daemon, waiting=1, running=1)
        message = refused_upgrade(daemon)
        assert all(stream.result().done for stream in streams)

    assert message == "the new daemon did not come up: it ended by SIGABRT"
    assert before == pids(daemon)
    assert daemon.process.pid == daemon.status()["pid"]
    assert [] == daemon.successors()


def test_a_new_daemon_that_hangs_is_given_up(
    start_daemon: Callable[..., Daemon], tiny_model: Path, home: Path
) -> None:
    text = config(tiny_model).replace("[server]", "[server]\ntakeover_seconds = 0.5")
    daemon = start_daemon(text, PYTHONPATH=str(home))
    sabotage_successors(home, "import signal; signal.pause()")

    assert refused_upgrade(daemon) == "the new daemon did not come up in 0.5 s"
    assert ask(daemon.url, 3).done
    assert [] == daemon.successors()


def test_a_bad_configuration_is_told_and_changes_nothing(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    daemon = start_daemon(config(tiny_model))
    daemon.config.write_text("[server]\nlistne = 1\n")

    assert f'did not come up: {daemon.config}:2: unknown key "listne"' in refused_upgrade(daemon)
    assert daemon.process.pid == daemon.status()["pid"]
    assert ask(daemon.url, 3).done


def test_what_an_operator_has_stopped_stays_stopped(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    daemon = start_daemon(config(tiny_model, replicas=2))
    assert 0 == daemon.run("stop", "slow#1").returncode
    upgrade(daemon)

    assert {"slow#0": "ready", "slow#1": "stopped"} == {
        name: one["state"] for name, one in await_replicas(daemon, is_settled).items()
    }


def test_a_model_that_is_stopped_still_refuses_at_once(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    daemon = start_daemon(config(tiny_model))
    assert 0 == daemon.run("stop", "slow").returncode
    upgrade(daemon)
    refused = ask(daemon.url, 3)

    assert (503, True) == (refused.status, "slow#0 is stopped" in refused.text)


def test_what_an_operator_does_while_the_new_daemon_comes_up_is_done_by_the_old_one(
    start_daemon: Callable[..., Daemon], tiny_model: Path, home: Path
) -> None:
    daemon = start_daemon(config(tiny_model), PYTHONPATH=str(home))
    sabotage_successors(home, HESITANT.replace("FOLDER", repr(str(home))))
    with ThreadPoolExecutor(1) as pool:
        upgrading = pool.submit(daemon.run, "upgrade", "--json")
        await_file(home / "hesitates")
        restarted = daemon.run("restart", "slow", "--json")
        pid = daemon.replicas()["slow#0"]["pid"]
        (home / "hesitates").unlink()
        done = upgrading.result()

    assert {"slow#0": "ready"} == json.loads(restarted.stdout)["replicas"]
    assert 0 == done.returncode, done.stdout
    assert pid == await_replicas(daemon, is_ready)["slow#0"]["pid"]
    assert "ended_orphans" not in (home / "state/relayd/logs/relayd.log").read_text()


def test_a_daemon_that_is_stopped_while_the_new_one_comes_up_leaves_nothing(
    start_daemon: Callable[..., Daemon], tiny_model: Path, home: Path
) -> None:
    daemon = start_daemon(config(tiny_model), PYTHONPATH=str(home))
    sabotage_successors(home, HESITANT.replace("FOLDER", repr(str(home))))
    with ThreadPoolExecutor(1) as pool:
        upgrading = pool.submit(daemon.run, "upgrade", "--json")
        await_file(home / "hesitates")
        stopped = daemon.run("stop")
        done = upgrading.result()

    assert 0 == stopped.returncode, stopped.stderr
    assert "this daemon is stopping" == json.loads(done.stdout)["error"]["message"]
    assert 0 == daemon.process.wait(DEADLINE_SECONDS)
    assert [] == daemon.leftovers()
    assert [] == daemon.successors()


def test_a_new_daemon_that_dies_as_it_takes_over_is_told_and_streams_end_whole(
    start_daemon: Callable[..., Daemon], slow_model: Path, home: Path
) -> None:
    daemon = start_daemon(config(slow_model, slots=1), PYTHONPATH=str(home))
    sabotage_successors(home, f"{PREDECESSOR}take_over = lambda *_: os.abort()")
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(ask, daemon.url, LONG)
        await_load(daemon, waiting=0, running=1)
        message = refused_upgrade(daemon)
        assert stream.result().done

    assert "the new daemon ended as it took over" == message
    assert 1 == daemon.process.wait(DEADLINE_SECONDS), "a service manager starts it again"
    (home / "sitecustomize.py").unlink()
    assert ask(start_daemon(config(slow_model, slots=1)).url, 3).done


def test_a_replica_that_dies_while_the_old_daemon_lives_is_started_by_the_new_one(
    start_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    model = make_model(tmp_path / "slow.gguf", replace(SLOW, writes_bytes=False))  # its text can be continued
    daemon = start_daemon(config(model, slots=1, replicas=2))
    before = pids(daemon)
    with ThreadPoolExecutor(2) as pool:
        streams = [pool.submit(ask, daemon.url, LONG) for _ in range(2)]
        await_load(daemon, waiting=0, running=2)
        upgrade(daemon)
        assert 2 == daemon.status()["predecessor"]["requests"]
        assert f"(pid {daemon.process.pid}) has 2 requests to finish" in refused_upgrade(daemon)
        os.kill(before["slow#0"], signal.SIGKILL)
        after = await_replicas(daemon, lambda one: one["name"] != "slow#0" or one["pid"] != before["slow#0"])
        assert [True, True] == [stream.result().done for stream in streams]  # one is continued

    assert before["slow#1"] == after["slow#1"]["pid"]
    await_replicas(daemon, is_ready)


def test_the_slots_of_an_old_daemon_that_is_killed_become_free(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(config(slow_model, slots=1))
    with ThreadPoolExecutor(2) as pool:
        streams = [pool.submit(ask, daemon.url, LONG) for _ in range(2)]
        await_load(daemon, waiting=1, running=1)
        upgrade(daemon)
        await_load(daemon, waiting=1, running=1)
        daemon.process.kill()
        assert ask(daemon.url, 3).done
        assert not any(stream.result().done for stream in streams)

    await_load(daemon, waiting=0, running=0)


def test_streams_of_an_old_daemon_outlive_the_new_one(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(config(slow_model, slots=1))
    with ThreadPoolExecutor(2) as pool:
        streams = [pool.submit(ask, daemon.url, LONG)]
        await_load(daemon, waiting=0, running=1)
        streams.append(pool.submit(ask, daemon.url, 3))
        await_load(daemon, waiting=1, running=1)
        os.kill(upgrade(daemon), signal.SIGKILL)
        outcomes = [stream.result() for stream in streams]

    assert outcomes[0].done
    assert (503, True) == (outcomes[1].status, "the daemon that took over has ended" in outcomes[1].text)
    assert 0 == daemon.process.wait(DEADLINE_SECONDS)
    assert ask(start_daemon(config(slow_model, slots=1)).url, 3).done, "a third one adopts the replica"

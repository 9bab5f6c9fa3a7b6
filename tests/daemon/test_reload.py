"""A running daemon follows its configuration, and commands that start and stop replicas."""

import json
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from tests.daemon.test_faults import ask, await_load, await_replicas, config, is_ready
from tests.daemons import DEADLINE_SECONDS, Daemon

pytestmark = pytest.mark.real


def test_a_reload_replaces_what_changed_and_touches_nothing_else(
    start_daemon: Callable[..., Daemon], slow_model: Path, tiny_model: Path
) -> None:
    tiny = f'[[model]]\nname = "tiny"\nfile = "{tiny_model}"\nslots = 1\n'
    daemon = start_daemon(config(slow_model) + tiny)
    before = daemon.replicas()
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(ask, daemon.url, 500)
        await_load(daemon, waiting=0, running=1)
        daemon.config.write_text(config(slow_model) + tiny.replace("slots = 1", "slots = 2"))
        dry = json.loads(daemon.run("reload", "--dry-run", "--json").stdout)
        assert before == daemon.replicas() or before["tiny#0"]["pid"] == daemon.replicas()["tiny#0"]["pid"]
        done = daemon.run("reload")
        assert stream.result().done, "the stream of an unchanged replica goes on"
    after = daemon.replicas()

    assert {"tiny#0": ["slots: 1 → 2"]} == dry["changed"]
    assert ["slow#0"] == dry["unchanged"]
    assert 0 == done.returncode, done.stderr
    assert "~ tiny#0: slots: 1 → 2" in done.stdout
    assert before["slow#0"]["pid"] == after["slow#0"]["pid"]
    assert before["tiny#0"]["pid"] != after["tiny#0"]["pid"]
    assert 2 == after["tiny#0"]["slots"]


def test_a_reload_says_what_it_changes_without_a_restart(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    line = f'[[model]]\nname = "tiny"\nfile = "{tiny_model}"\n'
    daemon = start_daemon(line)
    before = daemon.replicas()["tiny#0"]["pid"]
    daemon.config.write_text(line + 'aliases = ["small", "mini"]\n')
    dry = json.loads(daemon.run("reload", "--dry-run", "--json").stdout)
    done = daemon.run("reload").stdout

    assert {"tiny": ["aliases: none → small mini"]} == dry["models"]
    assert "tiny: aliases: none → small mini, without a restart" in done
    assert "1 replica untouched" in done
    assert "nothing has changed" in daemon.run("reload").stdout
    assert before == daemon.replicas()["tiny#0"]["pid"]


def test_a_reload_changes_when_a_model_is_in_memory_without_a_restart(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    line = f'[[model]]\nname = "tiny"\nfile = "{tiny_model}"\n'
    on_demand = 'load = "demand"\npin = true\nreplicas = { min = 1, max = 2 }\n'
    daemon = start_daemon(line)
    before = daemon.replicas()["tiny#0"]["pid"]
    daemon.config.write_text(line + on_demand)
    there = json.loads(daemon.run("reload", "--json").stdout)
    meanwhile = daemon.replicas()
    daemon.config.write_text(line + "home = true\n")
    back = json.loads(daemon.run("reload", "--json").stdout)

    assert {"tiny": ["load: start → demand", "pin: false → true"]} == there["models"]
    assert ({}, ["tiny#1"], ["tiny#0"]) == (there["changed"], there["added"], there["unchanged"])
    assert (before, None) == (meanwhile["tiny#0"]["pid"], meanwhile["tiny#1"]["pid"])
    assert {"tiny": ["load: demand → start", "pin: true → false", "home: false → true"]} == back["models"]
    assert ({}, ["tiny#1"]) == (back["changed"], back["removed"])
    assert before == daemon.replicas()["tiny#0"]["pid"]
    assert is_ready(daemon.replicas()["tiny#0"])


def test_a_reload_adds_and_removes_models(
    start_daemon: Callable[..., Daemon], slow_model: Path, tiny_model: Path
) -> None:
    daemon = start_daemon(config(slow_model))
    daemon.config.write_text(f'[[model]]\nname = "tiny"\nfile = "{tiny_model}"\n')
    done = daemon.run("reload")

    assert 0 == done.returncode, done.stderr
    assert ["tiny#0"] == list(daemon.replicas())
    assert ask(daemon.url, 3, model="tiny").done
    assert 404 == ask(daemon.url, 3, model="slow").status


def test_a_bad_file_changes_nothing_and_is_told(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(config(slow_model))
    before = daemon.replicas()
    daemon.config.write_text(config(slow_model) + "\nslotts = 3\n")
    done = daemon.run("reload")

    assert 1 == done.returncode
    assert 'unknown key "slotts"' in done.stderr
    assert before["slow#0"]["pid"] == daemon.replicas()["slow#0"]["pid"]
    assert ask(daemon.url, 3).done


def test_settings_of_the_door_and_the_queue_change_without_a_restart(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(config(slow_model))
    pid = daemon.replicas()["slow#0"]["pid"]
    key = "a-key-that-is-long-enough-for-relayd"
    daemon.config.write_text(config(slow_model).replace("[server]", f'[server]\napi_key = "{key}"'))
    daemon.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while ask(daemon.url, 1).status != 401:
        assert time.monotonic() < deadline
        Event().wait(0.02)

    assert pid == daemon.replicas()["slow#0"]["pid"]
    assert key not in daemon.run("reload", "--dry-run", "--json").stdout


def test_a_rolling_restart_fails_no_request(start_daemon: Callable[..., Daemon], slow_model: Path) -> None:
    daemon = start_daemon(config(slow_model, replicas=2, slots=2))
    before = daemon.replicas()
    done = Event()

    def keep_asking() -> list[bool]:
        outcomes = []
        while not done.is_set():
            outcomes.append(ask(daemon.url, 20).done)
        return outcomes

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(keep_asking) for _ in range(4)]
        restarted = daemon.run("restart", "slow", "--rolling")
        done.set()
        outcomes = [outcome for client in clients for outcome in client.result()]
    after = daemon.replicas()

    assert 0 == restarted.returncode, restarted.stderr
    assert all(outcomes)
    assert len(outcomes) > 4
    assert not {replica["pid"] for replica in before.values()} & {
        replica["pid"] for replica in after.values()
    }
    assert {0} == {replica["restarts"] for replica in after.values()}


def test_requests_wait_while_their_only_replica_restarts(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(config(slow_model))
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(ask, daemon.url, 400)
        await_load(daemon, waiting=0, running=1)
        restarted = pool.submit(daemon.run, "restart", "slow#0")
        outcomes = [ask(daemon.url, 3) for _ in range(5)]
        assert running.result().done
        assert 0 == restarted.result().returncode
    assert all(outcome.done for outcome in outcomes)


def test_a_drained_replica_finishes_and_a_start_brings_it_back(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(config(slow_model, replicas=2))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, daemon.url, 400)
        await_load(daemon, waiting=0, running=1)
        drained = daemon.run("drain", "slow#0")
        assert running.result().done
    assert "slow#0 is stopped" in drained.stdout
    assert "stopped" == daemon.replicas()["slow#0"]["state"]
    assert ask(daemon.url, 3).done

    assert "slow#0 is ready" in daemon.run("start", "slow#0").stdout
    await_replicas(daemon, is_ready)


def test_replicas_stay_when_the_daemon_is_told_to_keep_them(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    text = config(slow_model).replace("[replicas]", '[replicas]\non_daemon_exit = "keep"')
    first = start_daemon(text)
    pid = first.replicas()["slow#0"]["pid"]
    assert 0 == first.end()

    second = start_daemon(text)
    assert pid == second.replicas()["slow#0"]["pid"]
    assert 0 == second.run("stop").returncode

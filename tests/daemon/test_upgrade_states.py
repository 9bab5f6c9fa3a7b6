"""Replicas come out of an upgrade as they went in: running, reduced, stopped or given up, on any address."""

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from relayd.engine import Engine
from tests.daemon.test_faults import ask, await_load, await_replicas, config, is_ready
from tests.daemons import DEADLINE_SECONDS, Daemon

pytestmark = pytest.mark.real

OUT_OF_MEMORY_ONCE = """#!/bin/sh
case " $* " in
    *" --api-key-file "*) test -e {marker} || {{
        touch {marker}
        echo "ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory"
        exit 1
    }} ;;
esac
exec {engine} "$@"
"""
"""The real llama-server, whose first start as a replica ends as on a device that is too small."""


SLOW_RESTARTS = "first_delay_seconds = 600\nmax_delay_seconds = 600"


def upgrade(daemon: Daemon) -> None:
    done = daemon.run("upgrade", "--json")
    assert 0 == done.returncode, done.stdout + done.stderr


def memory_and_process(replicas: dict[str, dict[str, Any]]) -> dict[str, tuple[object, ...]]:
    """Return what a load would change: process, incarnation, reductions."""
    return {
        name: (one["pid"], one["incarnation"], one["reduced"], one["slots"], one["address"])
        for name, one in replicas.items()
    }


@pytest.mark.parametrize("listen", ["unix", "tcp"])
def test_nothing_is_loaded_again_though_a_replica_is_reduced_and_an_alias_edited(
    start_daemon: Callable[..., Daemon], slow_model: Path, engine: Engine, home: Path, listen: str
) -> None:
    llama_server = home / "llama-server"
    llama_server.write_text(OUT_OF_MEMORY_ONCE.format(marker=home / "once", engine=engine.path))
    llama_server.chmod(0o700)
    text = config(slow_model, listen, slots=2)
    daemon = start_daemon(text, wait=False, LLAMA_SERVER_PATH=str(llama_server))
    daemon.await_event("listening")
    before = memory_and_process(await_replicas(daemon, is_ready))
    assert [["slots: 2 → 1"]] == [reduced for *_, reduced, _slots, _address in before.values()]
    daemon.config.write_text(text.replace('name = "slow"', 'name = "slow"\naliases = ["steady"]'))
    with ThreadPoolExecutor(12) as pool:
        streams = [pool.submit(ask, daemon.url, 150) for _ in range(4)]
        await_load(daemon, waiting=3, running=1)
        upgrade(daemon)
        requests = [pool.submit(ask, daemon.url, 3, model="steady") for _ in range(8)]
        outcomes = [one.result() for one in streams + requests]
    assert {(200, True, "")} == {(one.status, one.done, one.error) for one in outcomes}
    assert 0 == daemon.process.wait(DEADLINE_SECONDS)

    assert before == memory_and_process(await_replicas(daemon, is_ready))
    assert {} == json.loads(daemon.run("reload", "--dry-run", "--json").stdout)["changed"]


def test_a_replica_that_waits_for_its_next_start_goes_on_waiting(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    text = config(tiny_model).replace("first_delay_seconds = 0.05\nmax_delay_seconds = 0.5", SLOW_RESTARTS)
    daemon = start_daemon(text)
    os.kill(daemon.replicas()["slow#0"]["pid"], signal.SIGKILL)
    before = await_replicas(daemon, lambda one: one["state"] == "backoff")["slow#0"]
    upgrade(daemon)
    after = daemon.replicas()["slow#0"]

    assert "backoff" == after["state"]
    assert before["last_exit"]["message"] == after["last_exit"]["message"]
    assert before["retry_at"] == pytest.approx(after["retry_at"], abs=30)
    assert "slow#0 is ready" in daemon.run("start", "slow").stdout
    assert ask(daemon.url, 3).done

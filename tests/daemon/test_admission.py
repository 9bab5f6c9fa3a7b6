"""An operator's start takes the memory that the plan has counted, and none that others hold."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemons import Daemon

pytestmark = pytest.mark.real

CONFIG = """
[memory]
host_mib = 700
min_resident_seconds = 0
[[model]]
name = "a"
file = "{tiny}"
[[model]]
name = "b"
file = "{slow}"
replicas = 2
[[model]]
name = "c"
file = "{slow}"
slots = 2
"""
"""Of it, b#1 and c#0 do not fit beside the others."""


def states(daemon: Daemon) -> dict[str, str]:
    return {name: replica["state"] for name, replica in daemon.replicas().items()}


def test_a_restart_leaves_cold_what_does_not_fit_and_what_was_stopped_takes_no_room_of_others(
    start_daemon: Callable[..., Daemon], tiny_model: Path, slow_model: Path
) -> None:
    daemon = start_daemon(CONFIG.format(tiny=tiny_model, slow=slow_model))
    ready_and_cold = {"a#0": "ready", "b#0": "ready", "b#1": "cold", "c#0": "cold"}
    assert ready_and_cold == states(daemon)

    everything = daemon.run("restart")
    model = daemon.run("restart", "c", "--json")
    assert ready_and_cold == states(daemon)
    assert "c#0 stays cold: it is not started: " in everything.stdout
    assert "host_mib allows 700 MiB" in everything.stdout
    assert "for b#0" in model.stdout
    assert '"not_started"' in model.stdout

    assert "prompt caches" not in daemon.run("doctor").stdout, "as planned, not as the lines allow"

    daemon.run("stop", "b")
    assert 0 == daemon.run("start", "c#0").returncode
    assert "ready" == states(daemon)["c#0"]
    assert "for c#0" in daemon.run("start", "b#0").stderr
    assert "c#0 is ready" in daemon.run("restart").stdout
    assert {"a#0": "ready", "b#0": "stopped", "b#1": "stopped", "c#0": "ready"} == states(daemon)


def test_status_says_why_a_replica_is_cold_as_long_as_it_is(
    start_daemon: Callable[..., Daemon], tiny_model: Path, slow_model: Path
) -> None:
    daemon = start_daemon(CONFIG.format(tiny=tiny_model, slow=slow_model))
    before, reasons = said(daemon), {name: one["reason"] for name, one in daemon.replicas().items()}
    asked = daemon.run("chat", "c", "-m", "hi")
    daemon.run("stop", "b")
    daemon.run("start", "c#0")
    after = said(daemon)
    upgraded = daemon.run("upgrade")

    assert ["", "", "b#1", "c#0"] == [reason.partition(" is not started: ")[0] for reason in reasons.values()]
    assert "c#0 is not started: " in before
    assert 0 == asked.returncode, "it is loaded for whom asks, and another makes room"
    assert "b#0" in next(line for line in journal(daemon) if "replica.not_loaded" in line)
    assert 0 == upgraded.returncode, upgraded.stderr
    for shown in (after, said(daemon)):
        assert "is not started" not in shown
        assert "would fit alone" not in shown


def said(daemon: Daemon) -> str:
    return " ".join(daemon.run("status").stdout.split())


def journal(daemon: Daemon) -> list[str]:
    return (daemon.home / "state/relayd/logs/relayd.log").read_text().splitlines()

"""S68 to S70: a configuration that changes while the daemon runs."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import msgspec
import pytest

from relayd.config import Config, changed_settings
from relayd.config.schema import Model, Server
from relayd.planner import Planned, ReplicaSpec, compare
from tests.daemons import DEADLINE_SECONDS, Daemon


def lives(daemon: Daemon) -> dict[str, object]:
    """Return everything of every replica but its memory, which moves by itself."""
    return {name: one | {"memory": None} for name, one in daemon.replicas().items()}


@pytest.mark.fake
def test_s68_a_bad_file_is_told_with_its_line_and_changes_nothing(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str]
) -> None:
    daemon = start_faked(faulty("", m=""))
    before = lives(daemon)
    daemon.config.write_text(faulty("\n\n[server]\nlistne = 3\n", m="", other=""))
    refused = daemon.run("reload")

    assert 1 == refused.returncode
    assert f"{daemon.config}:4: unknown key" in refused.stderr
    assert "listne" in refused.stderr
    assert before == lives(daemon)


@pytest.mark.fake
def test_a_storm_of_sighups_during_a_reload_makes_one_more(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str]
) -> None:
    daemon = start_faked(faulty(m="trap=5"))
    log = daemon.home / "state" / "relayd" / "logs" / "relayd.log"

    def count(event: str) -> int:
        return log.read_text().count(f" {event} ")

    def await_count(event: str, number: int) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while count(event) < number:
            assert time.monotonic() < deadline
            Event().wait(0.005)

    daemon.config.write_text(faulty(slots=2, m="trap=5"))
    daemon.process.send_signal(signal.SIGHUP)
    await_count("reload.begins", 1)
    for number in range(20):
        daemon.process.send_signal(signal.SIGHUP)
        await_count("daemon.signal", 2 + number)
    assert "nothing has changed" in daemon.run("reload").stdout

    assert 21 == count("daemon.signal")
    assert 2 <= count("reload.begins") <= 5, "one that runs, one that waits, and some time for a busy machine"
    assert 2 == daemon.replicas()["m#0"]["slots"]


def planned(model: str, **fields: int) -> Planned:
    return Planned(ReplicaSpec(model, 0, Path("/m.gguf"), **fields))  # type: ignore[arg-type]  # fields that are numbers


@pytest.mark.pure
def test_s69_a_plan_is_compared_replica_by_replica() -> None:
    old = [planned("same"), planned("gone"), planned("other", slots=1)]
    new = [planned("new"), planned("other", slots=2), planned("same")]
    changes = compare(old, new)

    assert ((planned("new"),), (planned("gone"),), (planned("same"),)) == (
        changes.added,
        changes.removed,
        changes.unchanged,
    )
    assert [(planned("other", slots=2), ("slots: 1 → 2",))] == [
        (change.planned, change.reasons) for change in changes.changed
    ]
    assert not compare(old, old)


@pytest.mark.pure
def test_s70_settings_that_need_no_restart_are_told_from_those_that_do() -> None:
    old = Config(model=(Model(name="m", file="/m.gguf"),))
    new = msgspec.structs.replace(old, server=Server(listen="127.0.0.1:1", max_body_mib=1))

    assert {"server.listen": False, "server.max_body_mib": True} == {
        setting.key: setting.live for setting in changed_settings(old, new)
    }
    assert () == changed_settings(old, msgspec.structs.replace(old, model=()))


@pytest.mark.pure
@pytest.mark.parametrize("field", ["context", "slots", "threads", "cache_ram_mib"])
def test_s70_what_a_process_is_started_from_needs_a_new_process(field: str) -> None:
    before, after = planned("m"), planned("m", **{field: 7})

    assert before.spec.digest != after.spec.digest
    assert compare([before], [after]).changed

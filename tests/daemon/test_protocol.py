"""An upgrade between builds that do not understand each other changes nothing, and says what helps."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from relayd.handover.messages import PROTOCOL
from tests.daemon.test_faults import ask, await_load, config
from tests.daemons import Daemon, sabotage_successors

pytestmark = pytest.mark.real

ADDED_FIELD = """import msgspec, relayd.scheduler as scheduler
    fields, bases = [("tariff", int)], (scheduler.Ticket,)
    scheduler.Ticket = msgspec.defstruct("Ticket", fields, bases=bases, frozen=True, kw_only=True)
    import relayd.handover.messages as messages"""
"""Gives tickets a field that this build's do not have, and that has no default."""

OTHERS = {
    "which states no number": (
        "import relayd.handover.messages as messages; messages.PROTOCOL = 0",
        "a protocol without a number",
    ),
    "whose number is higher": (
        f"{ADDED_FIELD}; messages.PROTOCOL = {PROTOCOL + 1}",
        f"protocol {PROTOCOL + 1}",
    ),
    "whose number should be higher": (ADDED_FIELD, "missing required field `tariff`"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_an_upgrade_changes_nothing_with_a_new_build(
    start_daemon: Callable[..., Daemon], slow_model: Path, home: Path, other: str
) -> None:
    line, reason = OTHERS[other]
    daemon = start_daemon(config(slow_model, slots=1), PYTHONPATH=str(home))
    before = daemon.replicas()["slow#0"]["pid"]
    sabotage_successors(home, line)
    with ThreadPoolExecutor(2) as pool:
        streams = [pool.submit(ask, daemon.url, 150) for _ in range(2)]
        await_load(daemon, waiting=1, running=1)
        done = daemon.run("upgrade", "--json")
        assert all(stream.result().done for stream in streams)

    assert 1 == done.returncode, done.stdout
    assert reason in json.loads(done.stdout)["error"]["message"]
    assert daemon.process.pid == daemon.status()["pid"]
    assert before == daemon.replicas()["slow#0"]["pid"]
    assert ask(daemon.url, 3).done
    assert [] == daemon.successors()


def test_a_build_that_would_not_compare_the_number_is_given_up_by_the_new_one(
    start_daemon: Callable[..., Daemon], tiny_model: Path, home: Path
) -> None:
    daemon = start_daemon(config(tiny_model), PYTHONPATH=str(home))
    sabotage_successors(home, 'del os.environ["RELAYD_HANDOVER_PROTOCOL"]')
    done = daemon.run("upgrade", "--json")

    assert 1 == done.returncode, done.stdout
    assert "restart the service instead" in json.loads(done.stdout)["error"]["message"]
    assert ask(daemon.url, 3).done

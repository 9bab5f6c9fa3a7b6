"""Each report of the supervisor becomes one event of the scheduler, after its listeners were called."""

from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.daemon.events import NO_ROOM, Bridge
from relayd.endpoint import Endpoint, UnixAddress
from relayd.planner import Planned, ReplicaSpec
from relayd.scheduler import Draining, Expected, Forgotten, Gone, Lost, Paused, Ready, Unloaded
from relayd.secret import Secret

pytestmark = pytest.mark.pure

PLANNED = Planned(ReplicaSpec("m", 0, Path("/m.gguf"), slots=3))
SIZES = "other#0 holds 658 MiB of 700 MiB"
ENDPOINT = Endpoint(UnixAddress(Path("/run/1.sock")), Secret("k"), "m#0", 2)
READY = Ready("m#0", "m", 3, ENDPOINT, kept_tokens=8192 * 2**20 / 2**15)


@pytest.mark.parametrize(
    ("report", "steps"),
    [
        (lambda bridge: bridge.expected("m#0", "m"), ["changed", Expected("m#0", "m")]),
        (
            lambda bridge: bridge.ready(PLANNED, ENDPOINT),
            ["changed", READY],
        ),
        (lambda bridge: bridge.paused("m#0"), ["changed", Paused("m#0")]),
        (lambda bridge: bridge.draining("m#0"), ["changed", Draining("m#0")]),
        (lambda bridge: bridge.lost(ENDPOINT), [("retired", ENDPOINT), "changed", Lost("m#0")]),
        (lambda bridge: bridge.gone("m#0", "it is stopped"), ["changed", Gone("m#0", "it is stopped")]),
        (lambda bridge: bridge.unloaded("m#0", "m", SIZES), ["changed", Unloaded("m#0", "m", NO_ROOM)]),
        (lambda bridge: bridge.forgotten("m#0"), ["changed", Forgotten("m#0")]),
    ],
)
def test_a_report_is_posted_once_its_listeners_were_called(
    report: Callable[[Bridge], None], steps: list[object]
) -> None:
    taken: list[object] = []
    bridge = Bridge(taken.append, lambda endpoint: taken.append(("retired", endpoint)))
    bridge.on_change(lambda: taken.append("changed"))
    report(bridge)

    assert steps == taken


def test_every_listener_is_called() -> None:
    taken: list[str] = []
    bridge = Bridge(lambda _: taken.append("posted"), lambda _: None)
    for name in ("first", "second"):
        bridge.on_change(lambda name=name: taken.append(name))  # type: ignore[misc]  # mypy cannot infer the default
    bridge.expected("m#0", "m")

    assert ["first", "second", "posted"] == taken


def test_what_a_replica_keeps_of_prompts_is_reckoned_by_what_the_plan_knows_of_a_token() -> None:
    taken: list[object] = []
    bridge = Bridge(taken.append, lambda _: None, token_bytes=lambda file: {"/m.gguf": 2**17}[file])
    bridge.ready(PLANNED, ENDPOINT)

    assert [8192 * 2**20 / 2**17] == [one.kept_tokens for one in taken if isinstance(one, Ready)]

"""What clients see of a model follows what its replicas do."""

from dataclasses import replace
from pathlib import Path

import pytest

from relayd.api import ModelState, ModelView
from relayd.config import Config, Model
from relayd.config.schema import ReplicaRange
from relayd.daemon.view import ON_DEMAND, FleetView, window_of
from relayd.planner import Planned, ReplicaSpec, Residence
from relayd.supervisor import State, Status
from relayd.supervisor.causes import Cause, Exit
from relayd.units import Bytes

pytestmark = pytest.mark.pure

MODEL = Model(name="m", file="/m.gguf", replicas=ReplicaRange(min=1, max=3))
ENDED = Exit(Cause.REFUSED, 1, "llama-server refuses the file: unknown architecture", "")


def status(
    state: State, index: int = 0, reason: str = "", exit_: Exit | None = None, *, has_failed: bool = False
) -> Status:
    spec = ReplicaSpec("m", index, Path("/m.gguf"), context=4096, slots=2)
    planned = Planned(spec, residence=Residence(growth=index > 0))
    return Status(
        planned, state, 0.0, None, 0, None, 0, 5, (), exit_, None, (), None, None, None, (),
        reason=reason,
        has_failed=has_failed,
    )  # fmt: skip


def seen(*statuses: Status) -> ModelView:
    (view,) = FleetView(Config(model=(MODEL,)), 0.0, lambda: statuses).models()
    return view


@pytest.mark.parametrize(
    ("statuses", "state", "reason"),
    [
        ([status(State.READY), status(State.COLD, 1)], ModelState.READY, ""),
        ([status(State.COLD, reason="18 GiB are held by other#0")], ModelState.COLD, ON_DEMAND),
        ([status(State.LOADING)], ModelState.LOADING, ""),
        ([status(State.WAITING)], ModelState.WAITING, ""),
        ([status(State.FATAL, exit_=ENDED)], ModelState.FAILED, ENDED.message),
        ([status(State.STOPPED)], ModelState.STOPPED, ""),
        ([status(State.COLD, reason="bad magic", has_failed=True)], ModelState.FAILED, "bad magic"),
        (
            [status(State.COLD, reason="bad magic", has_failed=True), status(State.COLD, 1)],
            ModelState.FAILED,
            "bad magic",
        ),
    ],
)
def test_a_model_has_a_state_and_where_it_does_not_serve_the_reason(
    statuses: list[Status], state: ModelState, reason: str
) -> None:
    found = seen(*statuses)

    assert (state, reason) == (found.state, found.reason)


def test_replicas_that_come_and_go_with_the_queue_are_not_counted_as_wanted() -> None:
    found = seen(status(State.READY), status(State.COLD, 1), status(State.COLD, 2))

    assert (1, 1, 0) == (found.replicas, found.replicas_ready, found.replicas_cold)


def test_a_replica_whose_load_failed_is_not_where_it_should_be() -> None:
    found = seen(status(State.COLD, reason="bad magic", has_failed=True))

    assert (1, 0, 0) == (found.replicas, found.replicas_ready, found.replicas_cold)


def test_ram_and_device_memory_of_what_serves_are_counted_apart() -> None:
    one = status(State.READY)
    needs = {"host": Bytes(3), "cuda0": Bytes(5)}
    found = seen(replace(one, planned=replace(one.planned, needs=needs)))

    assert (3, 5) == (found.host_bytes, found.device_bytes)


def test_what_is_not_in_memory_is_about_to_load_while_a_daemon_begins() -> None:
    view = FleetView(Config(model=(MODEL,)), 0.0, lambda: (status(State.COLD),))
    view.begin()

    (before,) = view.models()
    view.begin(over=True)
    (after,) = view.models()

    assert (ModelState.WAITING, 0) == (before.state, before.replicas_cold)
    assert (ModelState.COLD, 1) == (after.state, after.replicas_cold)


@pytest.mark.parametrize(
    ("planned", "trained", "window"),
    [
        (1000, 0, 1024),
        (1000, 4096, 1024),
        (2048, 2048, 2048),
        (8192, 2048, 2048),
        (0, 0, 0),
        (1000, 1010, 1010),
    ],
)
def test_the_window_is_what_a_slot_really_holds(planned: int, trained: int, window: int) -> None:
    assert window == window_of(planned, trained)

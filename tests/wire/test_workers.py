"""How do workers come, fall silent and go, and what is offered of them meanwhile?"""

from collections.abc import Awaitable, Callable

import msgspec
import pytest

from relayd.remote.capacity import OfferState, Remotes
from relayd.remote.modelrelay.workers import BACK_SECONDS, Workers
from relayd.scheduler import Event, Forgotten, Ready
from tests.wire.stage import JumpingLoop, Wire

pytestmark = pytest.mark.pure


Step = str | Callable[[], Awaitable[None] | None] | None
"""A frame, something to do, or a silence."""


class ScriptedSocket(Wire):
    """A worker's WebSocket: one step after the other, and then it closes."""

    def __init__(self, *script: Step) -> None:
        super().__init__()
        self.script = list(script)

    async def receive(self, seconds: float) -> str | None:
        while self.script and not self.closed:
            step = self.script.pop(0)
            if step is None:
                raise TimeoutError
            if isinstance(step, str):
                return step
            if (waited := step()) is not None:
                await waited
        return None


def frame(kind: str, **members: object) -> str:
    return msgspec.json.encode({"type": kind, **members}).decode()


def register(*models: str, slots: int = 2, name: str = "box") -> str:
    return frame("register", worker_name=name, models=models, max_concurrent=slots)


class Hub:
    """Workers, their capacity, and the events that the scheduler gets."""

    def __init__(self) -> None:
        self.loop = JumpingLoop()
        self.events: list[Event] = []
        self.retired: list[object] = []
        self.remotes = Remotes(self.events.append, self.retired.append)
        self.workers = Workers(self.remotes, lambda: self.loop, ping_seconds=15, silent_seconds=45)

    async def serve(self, *script: Step) -> ScriptedSocket:
        socket = ScriptedSocket(*script)
        await self.workers.serve(socket, "local", "10.0.0.1")
        return socket

    def slots(self, replica: str) -> int:
        """Return the slots that the scheduler was given last."""
        return [
            event.slots for event in self.events if isinstance(event, Ready) and event.replica == replica
        ][-1]

    def state(self, replica: str) -> OfferState | None:
        known = self.remotes.get(replica)
        return known.state if known else None


async def test_each_model_of_a_worker_is_a_replica_with_its_slots() -> None:
    hub = Hub()
    seen: list[tuple[OfferState | None, int]] = []

    await hub.serve(
        register("a", "b"),
        lambda: seen.extend((hub.state(f"{one}@box"), hub.slots(f"{one}@box")) for one in "ab"),
    )

    assert seen == [(OfferState.READY, 2)] * 2


async def test_c32_a_silent_worker_is_lost() -> None:
    hub = Hub()

    socket = await hub.serve(register("a"), None, None, None)

    assert [one["type"] for one in socket.frames] == ["register_ack", "ping", "ping"]
    assert socket.closed == (1000, "worker heartbeat timed out")
    assert hub.state("a@box") is OfferState.LOST


async def test_c31_any_frame_is_a_sign_of_life() -> None:
    hub = Hub()

    socket = await hub.serve(register("a"), *(None, None, frame("pong", current_load=0)) * 3)

    assert socket.closed is None


async def test_c55_a_worker_that_does_not_come_back_is_forgotten() -> None:
    hub = Hub()
    await hub.serve(register("a"))
    assert hub.state("a@box") is OfferState.LOST

    hub.loop.advance(BACK_SECONDS)

    assert hub.state("a@box") is None
    assert isinstance(hub.events[-1], Forgotten)


async def test_c43_a_worker_that_comes_back_in_time_keeps_what_waits() -> None:
    hub = Hub()
    await hub.serve(register("a"))
    hub.loop.advance(BACK_SECONDS / 2)
    seen: list[OfferState | None] = []

    await hub.serve(register("a"), lambda: seen.append(hub.state("a@box")))

    assert seen == [OfferState.READY]
    assert not any(isinstance(event, Forgotten) for event in hub.events)


async def test_models_that_an_update_leaves_out_are_withdrawn() -> None:
    hub = Hub()
    seen: list[tuple[OfferState | None, OfferState | None]] = []

    await hub.serve(
        register("a"),
        frame("models_update", models=["b"], current_load=0),
        lambda: seen.append((hub.state("a@box"), hub.state("b@box"))),
    )

    assert seen == [(None, OfferState.READY)]


async def test_a_worker_with_a_wildcard_is_asked_for_its_models() -> None:
    hub = Hub()

    socket = await hub.serve(register("*"))

    assert [one["type"] for one in socket.frames] == ["register_ack", "models_refresh"]


async def test_two_workers_of_one_name_are_two_workers() -> None:
    hub = Hub()
    seen: list[set[str]] = []

    async def second() -> None:
        await hub.serve(register("a"), lambda: seen.append({one.label for one in hub.workers}))

    await hub.serve(register("a"), second)

    assert seen == [{"box", "box-2"}]


async def test_c52_a_first_frame_that_is_not_a_registration_is_closed_with_1002() -> None:
    socket = await Hub().serve(frame("pong", current_load=0))

    assert socket.closed == (1002, "worker registration protocol error")


async def test_a_frame_that_is_not_a_message_is_closed_with_1002() -> None:
    socket = await Hub().serve(register("a"), "{")

    assert socket.closed == (1002, "worker protocol error")


async def test_c40_a_drain_closes_every_worker_and_each_new_one() -> None:
    hub = Hub()
    socket = await hub.serve(register("a"), lambda: hub.workers.drain(30, "an upgrade"))
    late = await hub.serve(register("a"))

    assert socket.closed == late.closed == (1000, "graceful shutdown complete")


async def test_workers_that_are_closed_leave_no_timer() -> None:
    hub = Hub()
    await hub.serve(register("a"))

    hub.workers.close()
    hub.loop.advance(100)

    assert repr(hub.workers) == "<Workers connected=0 lost=0>"

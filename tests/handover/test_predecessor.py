"""What an old daemon leaves and says goes into the new one's schedule, whenever it comes."""

import asyncio
import socket
from pathlib import Path

import pytest

from relayd.clock import SystemClock
from relayd.daemon.actor import Actor
from relayd.endpoint import Endpoint, UnixAddress
from relayd.handover import Predecessor, messages
from relayd.router import Dispatcher
from relayd.scheduler import Ask, Dispatch, Ready, Refuse, Scheduler, Ticket
from relayd.secret import Secret

pytestmark = pytest.mark.system

ENDPOINT = Endpoint(UnixAddress(Path("/run/m.sock")), Secret("key"), "m#0", 1)
FAR = 1e12


def ticket(number: int) -> Ticket:
    return Ticket(number, Ask("m", deadline=FAR))


class Heir:
    """A new daemon's schedule with one replica of one slot, and the old daemon's end of the pair."""

    def __init__(self) -> None:
        ours, self.old = socket.socketpair()
        self.scheduler = Scheduler(depth=9)
        actor = Actor(self.scheduler, SystemClock())
        self.dispatcher = Dispatcher(actor.post, SystemClock(), max_wait_seconds=FAR)
        actor.on(Dispatch, self.dispatcher.on_answer)
        actor.on(Refuse, self.dispatcher.on_answer)
        actor.post(Ready("m#0", "m", 1, ENDPOINT))
        self.predecessor = Predecessor(ours, 1)

    def say(self, *told: messages.FromOld) -> None:
        """Have the old daemon say all of this at once."""
        self.old.sendall(b"".join(b"0 %b\n" % messages.encode(one) for one in told))

    async def succeed(self) -> None:
        async with asyncio.timeout(120):
            heritage = await self.predecessor.heritage()
        self.predecessor.succeed(heritage, self.dispatcher, lambda _: None)

    async def said(self) -> list[str]:
        """Return the kinds of messages that the old daemon has got."""
        self.old.setblocking(False)
        lines = (await asyncio.get_running_loop().sock_recv(self.old, 1 << 16)).splitlines()
        return [type(messages.decode_from_new(line.partition(b" ")[2])).__name__ for line in lines]


def commit(running: int, *waiting: int) -> messages.Commit:
    runs = [messages.Running(ticket(running), messages.Place.of(ENDPOINT), 1)]
    return messages.Commit(runs, [ticket(number) for number in waiting], [])


@pytest.fixture(autouse=True)
def _own_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the standard output of the tests where it is."""
    monkeypatch.setattr("relayd.handover.predecessor.os.dup2", lambda *_: None)
    monkeypatch.setattr("relayd.handover.predecessor.os.close", lambda _: None)


def test_what_is_said_together_with_the_heritage_is_heard() -> None:
    async def scene() -> tuple[list[str], int, int]:
        heir = Heir()
        heir.say(commit(1, 2), messages.Finish(1), messages.Arrive(ticket(3)))
        await heir.succeed()
        load = heir.scheduler.load("m")
        said = await heir.said()
        heir.predecessor.close()
        heir.old.close()
        return said, load.running, load.waiting

    assert (["Ready", "Placed", "Taken"], 1, 1) == asyncio.run(scene())


def test_an_old_daemon_that_dies_before_it_is_succeeded_leaves_no_slot_taken() -> None:
    async def scene() -> tuple[int, int]:
        heir = Heir()
        heir.say(commit(1, 2))
        async with asyncio.timeout(120):
            heritage = await heir.predecessor.heritage()
            heir.old.close()
            await heir.predecessor.gone()
        heir.predecessor.succeed(heritage, heir.dispatcher, lambda _: None)
        return heir.dispatcher.open_count, heir.scheduler.load("m").running

    assert (0, 0) == asyncio.run(scene())


def test_everything_that_a_request_asks_for_comes_over() -> None:
    ask = Ask("m", 1, "team", "batch", (1, 2), FAR, stream=True)

    async def scene() -> list[Ask]:
        heir = Heir()
        heir.say(messages.Commit([], [ticket(1), Ticket(2, ask)], []), messages.Arrive(Ticket(3, ask)))
        await heir.succeed()
        waiting = [one.ask for one in heir.scheduler.waiting()]
        heir.predecessor.close()
        heir.old.close()
        return waiting

    assert [ask, ask] == asyncio.run(scene())

"""What an old daemon leaves and reports goes into the new one's schedule, whenever it comes."""

import asyncio
import os
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from relayd.clock import SystemClock
from relayd.daemon.actor import Actor, Executors
from relayd.endpoint import Endpoint, UnixAddress
from relayd.errors import UpgradeError
from relayd.handover import HandoverState, Predecessor, messages
from relayd.router import Dispatcher
from relayd.scheduler import (
    Ask,
    AttemptFailed,
    Ended,
    Event,
    Exchange,
    Finished,
    Inherited,
    Ready,
    Scheduler,
    Ticket,
    Usage,
)
from relayd.secret import Secret

pytestmark = pytest.mark.system

ENDPOINT = Endpoint(UnixAddress(Path("/run/m.sock")), Secret("key"), "m#0", 1)
FAR = 1e12

Result = TypeVar("Result")


def ticket(number: int) -> Ticket:
    return Ticket(number, Ask("m", deadline=FAR))


def commit(running: int, *waiting: int) -> messages.Commit:
    runs = (Inherited(ticket(running), ENDPOINT, 1),)
    return messages.Commit.of(HandoverState(runs, tuple(map(ticket, waiting))))


class NewDaemon:
    """A schedule with one replica of one slot, and the old daemon's end of the pair."""

    def __init__(self, protocol: int = messages.PROTOCOL) -> None:
        ours, self.old = socket.socketpair()
        self.scheduler = Scheduler(depth=9)
        actor = Actor(self.scheduler, SystemClock())
        self.dispatcher = Dispatcher(actor.post, SystemClock(), max_wait_seconds=FAR)
        answer = self.dispatcher.on_answer
        actor.start(Executors(dispatch=answer, refuse=answer, idle=lambda _: None))
        actor.post(Ready("m#0", "m", 1, ENDPOINT))
        self.stdio: list[int] = []
        self.predecessor = Predecessor(ours, 1, protocol, lambda *two: self.stdio.extend(two))

    def receive(self, *sent: messages.FromOld) -> None:
        """Have the old daemon send all of this at once."""
        self.old.sendall(b"".join(b"0 %b\n" % messages.encode(one) for one in sent))

    async def take_over(self) -> None:
        state = await self.predecessor.commit()
        self.predecessor.take_over(state, self.dispatcher, lambda _: None)

    async def sent(self) -> list[str]:
        """Return the kinds of messages that the old daemon has got."""
        self.old.setblocking(False)
        lines = (await asyncio.get_running_loop().sock_recv(self.old, 1 << 16)).splitlines()
        return [type(messages.decode_from_new(line.partition(b" ")[2])).__name__ for line in lines]

    def close(self) -> None:
        self.predecessor.close()
        self.old.close()


def played(scene: Coroutine[Any, Any, Result]) -> Result:
    async def within_deadline() -> Result:
        async with asyncio.timeout(120):
            return await scene

    return asyncio.run(within_deadline())


def test_what_is_sent_together_with_the_commit_is_followed() -> None:
    async def scene() -> tuple[list[str], int, int]:
        new = NewDaemon()
        new.receive(commit(1, 2), messages.TicketFinished(1), messages.TicketArrived(ticket(3)))
        await new.take_over()
        load, sent = new.scheduler.load("m"), await new.sent()
        new.close()
        return sent, load.running, load.waiting

    assert (["Standby", "TicketPlaced", "TakenOver"], 1, 1) == played(scene())


def test_an_old_daemon_that_ends_before_the_take_over_leaves_no_slot_taken() -> None:
    async def scene() -> tuple[int, int]:
        new = NewDaemon()
        new.receive(commit(1, 2))
        state = await new.predecessor.commit()
        new.old.close()
        await new.predecessor.gone()
        new.predecessor.take_over(state, new.dispatcher, lambda _: None)
        return new.dispatcher.open_count, new.scheduler.load("m").running

    assert (0, 0) == played(scene())


def test_everything_that_a_request_asks_for_goes_over() -> None:
    ask = Ask("m", 1, "team", "batch", (1, 2), FAR, stream=True)

    async def scene() -> list[Ask]:
        new = NewDaemon()
        state = HandoverState(waiting=(ticket(1), Ticket(2, ask)))
        new.receive(messages.Commit.of(state), messages.TicketArrived(Ticket(3, ask)))
        await new.take_over()
        waiting = [one.ask for one in new.scheduler.waiting()]
        new.close()
        return waiting

    assert [ask, ask] == played(scene())


def test_how_an_old_daemons_request_ended_reaches_the_scheduler() -> None:
    exchange = Exchange(ask=Ask("m", key="team"), request_id="r", ended=Ended.CUT, usage=Usage(9, 4, 2))
    events: list[Event] = []

    async def scene() -> None:
        new = NewDaemon()
        new.dispatcher = Dispatcher(events.append, SystemClock(), max_wait_seconds=FAR)
        new.receive(commit(1), messages.TicketFinished(1, exchange))
        await new.take_over()
        new.close()

    played(scene())

    assert [exchange] == [event.exchange for event in events if isinstance(event, Finished)]


def test_an_old_daemons_answer_that_is_to_be_continued_keeps_its_deadline_and_its_suspicion() -> None:
    failed = messages.TicketAttemptFailed(1, sent=True, hung_up=True, deadline=FAR - 5)
    events: list[Event] = []

    async def scene() -> None:
        new = NewDaemon()
        new.dispatcher = Dispatcher(events.append, SystemClock(), max_wait_seconds=FAR)
        new.receive(commit(1), failed)
        await new.take_over()
        new.close()

    played(scene())

    found = [event for event in events if isinstance(event, AttemptFailed)]
    assert [(True, True, FAR - 5)] == [(one.sent, one.hung_up, one.deadline) for one in found]


def test_what_an_old_daemons_request_used_is_counted_once() -> None:
    used = Exchange(ask=Ask("m", key="team"), replica="m#0", usage=Usage(9, 4, 2))
    counted: list[Exchange] = []

    async def scene() -> None:
        new = NewDaemon()
        new.receive(commit(1, 2), messages.TicketFinished(1, used), messages.TicketFinished(1, used))
        state = await new.predecessor.commit()
        new.predecessor.take_over(state, new.dispatcher, lambda _: None, counted.append)
        new.receive(messages.TicketFinished(2), messages.TicketFinished(2, used))
        await new.sent()
        new.close()

    played(scene())

    assert [used] == counted


def test_what_is_not_written_and_the_lent_key_go_over() -> None:
    state = HandoverState(finished=(Exchange(ask=Ask("m", key="team")),), lent_key=Secret("k" * 59))

    sent = messages.Commit.of(state)

    assert state == sent.state()
    assert "kkk" not in repr(sent)


def test_the_shared_files_are_used_once_the_old_daemon_has_committed() -> None:
    async def scene() -> tuple[bool, list[int], list[int]]:
        new = NewDaemon()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            one = new.old.fileno()
            offered = messages.encode(messages.Offered())
            socket.send_fds(new.old, [b"4 %b\n" % offered], [one, one, one, listening.fileno()])
            shared = await new.predecessor.prepare("127.0.0.1:0")
            same = [one.getsockname() for one in shared.listening] == [listening.getsockname()]
        before = list(new.stdio)
        new.receive(commit(1))
        await new.predecessor.commit()
        for descriptor in (shared.lock, *new.stdio):
            os.close(descriptor)
        for one_socket in shared.listening:
            one_socket.close()
        new.close()
        return same, before, new.stdio

    same, before, after = played(scene())
    assert (True, 0, 2) == (same, len(before), len(after))


def test_an_old_daemon_without_a_protocol_number_is_told_nothing() -> None:
    async def scene() -> tuple[str, bytes]:
        new = NewDaemon(protocol=0)
        with pytest.raises(UpgradeError) as refusal:
            await new.predecessor.prepare("127.0.0.1:8080")
        new.predecessor.close()
        with new.old:
            return refusal.value.message, new.old.recv(1)

    message, sent = played(scene())
    assert b"" == sent
    assert message.endswith("cannot take over from: restart the service instead")


def test_a_state_that_cannot_be_read_ends_the_hand_over_with_the_reason() -> None:
    async def scene() -> str:
        new = NewDaemon()
        new.old.sendall(b'0 {"type": "Offered", "waiting": [{"tariff": 1}]}\n')
        with pytest.raises(ConnectionError) as end:
            await new.predecessor.prepare("127.0.0.1:8080")
        new.old.close()
        return str(end.value)

    assert "missing required field" in played(scene())

"""What is the old daemon to the one that takes over from it?"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from relayd import __version__
from relayd.handover import messages
from relayd.handover.messages import Handshake, Place
from relayd.scheduler import Dispatch, Event, Inherited, Refuse, Returned, Ticket
from relayd.service import Channel

CHANNEL_VARIABLE = "RELAYD_HANDOVER"
"""Names the descriptor of the pair's other end in the environment of a daemon that shall take over."""


class Desk(Protocol):
    """Where tickets are held on behalf of somebody: the router's dispatcher."""

    def ticket(self, model: str, width: int, deadline: float) -> Ticket:
        """Return a new ticket."""
        ...

    def enter(self, ticket: Ticket, holder: "_Absent") -> None:
        """Ask for its slot."""
        ...

    def inherit(self, running: Inherited, holder: "_Absent") -> None:
        """Take note that it runs."""
        ...

    def leave(self, ticket: Ticket) -> None:
        """Give its slot back."""
        ...

    @property
    def post(self) -> Callable[[Event], None]:
        """Tells the scheduler what happened."""
        ...


@dataclass(frozen=True, slots=True)
class Offer:
    """What the old daemon holds open.

    Attributes:
        lock: Descriptor of its lock.
        listening: The sockets that clients connect to.
    """

    lock: int
    listening: tuple[socket.socket, ...]


@dataclass(frozen=True, slots=True)
class Heritage:
    """What goes over.

    Attributes:
        running: Requests that run, in the order they came; their tickets are the old daemon's.
        waiting: Those that wait.
        stopped: Replicas that an operator has stopped.
    """

    running: tuple[Inherited, ...]
    waiting: tuple[Ticket, ...]
    stopped: frozenset[str]

    @property
    def in_use(self) -> frozenset[str]:
        """Replicas that the old daemon has requests on."""
        return frozenset(one.endpoint.replica for one in self.running)


class Predecessor:
    """The daemon whose place this one takes.

    Args:
        end: This side of the pair.
        pid: Its process.
    """

    def __init__(self, end: socket.socket, pid: int) -> None:
        self.pid = pid
        self._handshake = Handshake()
        self._channel = Channel(end, self._receive, self._lose)
        self._desk: Desk | None = None
        self._take: Callable[[int], None] = os.close
        self._tickets: dict[int, Ticket] = {}
        self._gone = asyncio.Event()
        self._voice: tuple[int, int] = (1, 2)

    @property
    def open_count(self) -> int:
        """How many of its requests wait or run."""
        return len(self._tickets)

    @property
    def lives(self) -> bool:
        """Whether it has not ended yet."""
        return not self._gone.is_set()

    def close(self) -> None:
        """Say no more to it."""
        self._channel.close()

    async def gone(self) -> None:
        """Wait until it has ended."""
        await self._gone.wait()

    async def offer(self, listen: str) -> Offer:
        """Say that this daemon knows what to run, and return what it is offered.

        Args:
            listen: Where clients shall reach it.

        Raises:
            ConnectionError: The old daemon has ended, or changed its mind.
        """
        self._say(messages.Prepared(__version__, listen))
        lock, output, error, *listening = await self._handshake.expect(list)
        self._voice = (output, error)
        return Offer(lock, tuple(socket.socket(fileno=one) for one in listening))

    async def heritage(self) -> Heritage:
        """Say that the replicas answer, and return what goes over; there is no way back.

        Raises:
            ConnectionError: The old daemon has ended, or changed its mind.
        """
        self._say(messages.Ready())
        told = await self._handshake.expect(messages.Commit)
        sys.stdout.flush()
        for own, theirs in enumerate(self._voice, start=1):
            os.dup2(theirs, own)
            os.close(theirs)
        running = (Inherited(one.ticket, one.place.endpoint(), one.slots) for one in told.running)
        return Heritage(tuple(running), tuple(told.waiting), frozenset(told.stopped))

    def succeed(self, heritage: Heritage, desk: Desk, take: Callable[[int], None]) -> None:
        """Go on with what the old daemon left, and say that clients reach this one.

        Args:
            heritage: What goes over.
            desk: Holds tickets for the old daemon's requests; they are older than any of ours.
            take: Serves a connection that it passes on.
        """
        self._desk, self._take = desk, take
        runs = {one.ticket.id: one for one in heritage.running}
        tickets = [*(one.ticket for one in heritage.running), *heritage.waiting]
        for theirs in sorted(tickets, key=lambda ticket: ticket.id):
            ticket, holder = self._hold(theirs)
            if (running := runs.get(theirs.id)) is not None:
                desk.inherit(Inherited(ticket, running.endpoint, running.slots), holder)
            else:
                desk.enter(ticket, holder)
        self._say(messages.Taken())

    def _hold(self, theirs: Ticket) -> "tuple[Ticket, _Absent]":
        assert self._desk is not None  # noqa: S101 - it speaks of requests only after `succeed`
        ticket = self._desk.ticket(theirs.model, theirs.width, theirs.deadline)
        self._tickets[theirs.id] = ticket
        return ticket, _Absent(theirs.id, self._say)

    def _say(self, message: messages.FromNew) -> None:
        self._channel.send(messages.encode(message))

    def _receive(self, message: bytes, descriptors: list[int]) -> None:
        match messages.decode_from_old(message):
            case messages.Offer():
                self._handshake.put(descriptors)
            case messages.Connection():
                self._take(descriptors[0])
            case messages.Arrive(theirs) if self._desk:
                self._desk.enter(*self._hold(theirs))
            case messages.Return(ticket_id) if self._desk:
                self._desk.post(Returned(self._tickets[ticket_id].id))
            case messages.Finish(ticket_id) if self._desk:
                self._desk.leave(self._tickets.pop(ticket_id))
            case step:
                self._handshake.put(step)

    def _lose(self) -> None:
        self._handshake.put(None)
        if self._desk:
            while self._tickets:
                self._desk.leave(self._tickets.popitem()[1])
        self._gone.set()


@dataclass(frozen=True, slots=True)
class _Absent:
    """Holds a ticket for a request of the old daemon, under the id it has there."""

    ticket_id: int
    say: Callable[[messages.FromNew], None]

    def settle(self, answer: Dispatch | Refuse) -> None:
        """Send the scheduler's answer on."""
        if isinstance(answer, Dispatch):
            self.say(messages.Placed(self.ticket_id, Place.of(answer.endpoint)))
        else:
            self.say(
                messages.Denied(self.ticket_id, answer.refusal, answer.reason, answer.retry_after_seconds)
            )


def predecessor_of(environ: Mapping[str, str]) -> Predecessor | None:
    """Return the daemon that started this one to take over from it; None for most.

    To be called on the event loop; the variable's descriptor is owned from here on.
    """
    number = environ.get(CHANNEL_VARIABLE, "")
    if not number.isdecimal():
        return None
    os.set_inheritable(int(number), False)
    return Predecessor(socket.socket(fileno=int(number)), os.getppid())

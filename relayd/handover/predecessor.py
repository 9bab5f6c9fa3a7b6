"""What is the old daemon to the one that takes over from it?"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from relayd import __version__
from relayd.handover import messages
from relayd.handover.channel import Channel
from relayd.handover.messages import Handshake, Place
from relayd.router import Dispatcher
from relayd.scheduler import AttemptFailed, Dispatch, Inherited, Refuse, Ticket

CHANNEL_VARIABLE = "RELAYD_HANDOVER"
"""Names the descriptor of the pair's other end in the environment of a daemon that shall take over."""


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
        running: Requests that run; their tickets are the old daemon's.
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
        self._dispatcher: Dispatcher | None = None
        self._take: Callable[[int], None] = os.close
        self._early: list[tuple[messages.FromOld, list[int]]] = []
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

    async def gone(self) -> None:
        """Wait until it has ended."""
        await self._gone.wait()

    def close(self) -> None:
        """Say no more to it."""
        self._channel.close()

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
        """Say that this daemon could take over, and return what goes over; there is no way back.

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

    def succeed(self, heritage: Heritage, dispatcher: Dispatcher, take: Callable[[int], None]) -> None:
        """Go on with what the old daemon left, and say that clients reach this one.

        Args:
            heritage: What goes over.
            dispatcher: Holds tickets for the old daemon's requests; they are older than any of ours.
            take: Serves a connection that it passes on.
        """
        self._dispatcher, self._take = dispatcher, take
        runs = {one.ticket.id: one for one in heritage.running}
        tickets = [*(one.ticket for one in heritage.running), *heritage.waiting]
        for theirs in sorted(tickets, key=lambda ticket: ticket.id):
            ticket, holder = self._hold(dispatcher, theirs)
            if (running := runs.get(theirs.id)) is not None:
                dispatcher.inherit(Inherited(ticket, running.endpoint, running.slots), holder)
            else:
                dispatcher.enter(ticket, holder)
        for message, descriptors in self._early:
            self._follow(dispatcher, message, descriptors)
        if not self.lives:
            self._leave_all(dispatcher)
        self._say(messages.Taken())

    def _hold(self, dispatcher: Dispatcher, theirs: Ticket) -> "tuple[Ticket, _Absent]":
        ticket = replace(theirs, id=dispatcher.next_id())
        self._tickets[theirs.id] = ticket
        return ticket, _Absent(theirs.id, self._say)

    def _leave_all(self, dispatcher: Dispatcher) -> None:
        while self._tickets:
            dispatcher.leave(self._tickets.popitem()[1])

    def _say(self, message: messages.FromNew) -> None:
        self._channel.send(messages.encode(message))

    def _receive(self, raw: bytes, descriptors: list[int]) -> None:
        message = messages.decode_from_old(raw)
        if isinstance(message, messages.Offer):
            self._handshake.put(descriptors)
        elif isinstance(message, messages.Commit):
            self._handshake.put(message)
        elif self._dispatcher:
            self._follow(self._dispatcher, message, descriptors)
        else:
            self._early.append((message, descriptors))

    def _follow(self, dispatcher: Dispatcher, message: messages.FromOld, descriptors: list[int]) -> None:
        """Do what the old daemon says of its requests and connections once it has left them."""
        match message:
            case messages.Connection():
                self._take(descriptors[0])
            case messages.Arrive(theirs):
                dispatcher.enter(*self._hold(dispatcher, theirs))
            case messages.Return(ticket_id, sent) if ticket := self._tickets.get(ticket_id):
                dispatcher.post(AttemptFailed(ticket.id, sent))
            case messages.Finish(ticket_id, exchange) if ticket := self._tickets.pop(ticket_id, None):
                dispatcher.leave(ticket, exchange)

    def _lose(self) -> None:
        self._gone.set()
        self._handshake.put(None)
        if self._dispatcher:
            self._leave_all(self._dispatcher)


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
    try:
        os.set_inheritable(int(number), False)
        return Predecessor(socket.socket(fileno=int(number)), os.getppid())
    except OSError:  # inherited from somewhere as a word alone
        return None

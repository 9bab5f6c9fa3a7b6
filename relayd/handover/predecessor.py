"""The old daemon, as the new one sees it while it takes over (predecessor)."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from relayd import __version__
from relayd.endpoint import Endpoint
from relayd.errors import RequestError, UpgradeError
from relayd.handover import messages
from relayd.handover.channel import Channel
from relayd.handover.messages import Handshake, SentEndpoint
from relayd.handover.state import HandoverState
from relayd.lock import CHANNEL_VARIABLE
from relayd.router import Dispatcher
from relayd.scheduler import AttemptFailed, Dispatch, Exchange, Inherited, Refuse, Ticket

PROTOCOL_VARIABLE = "RELAYD_HANDOVER_PROTOCOL"
"""Beside it: the number of the old daemon's hand-over protocol."""


@dataclass(frozen=True, slots=True)
class SharedFiles:
    """Copies of what the old daemon holds open.

    Attributes:
        lock: Descriptor of its lock.
        listening: The sockets that clients connect to.
    """

    lock: int
    listening: tuple[socket.socket, ...]


def replace_stdio(output: int, error: int) -> None:
    """Make two descriptors this process's standard output and error; they are closed."""
    sys.stdout.flush()
    for own, theirs in enumerate((output, error), start=1):
        os.dup2(theirs, own)
        os.close(theirs)


class Predecessor:
    """The daemon whose place this one takes.

    Args:
        end: This side of the pair.
        pid: Its process.
        protocol: The number of its hand-over protocol; 0 if it states none.
        use_stdio: Called with the descriptors of its standard output and error once it has committed.
    """

    def __init__(
        self,
        end: socket.socket,
        pid: int,
        protocol: int,
        use_stdio: Callable[[int, int], None] = replace_stdio,
    ) -> None:
        self.pid = pid
        self._protocol = protocol
        self._use_stdio = use_stdio
        self._stdio: tuple[int, int] | None = None
        self._handshake = Handshake()
        self._channel = Channel(end, self._receive, self._lose)
        self._dispatcher: Dispatcher | None = None
        self._serve: Callable[[int], None] = os.close
        self._count: Callable[[Exchange], None] = lambda _: None
        self._early: list[tuple[messages.FromOld, list[int]]] = []
        self._tickets: dict[int, Ticket] = {}
        self._gone = asyncio.Event()

    def __repr__(self) -> str:
        state = "alive" if self.alive else "gone"
        return f"<Predecessor pid {self.pid} {state}: {self.open_count} requests>"

    @property
    def open_count(self) -> int:
        """How many of its requests wait or run."""
        return len(self._tickets)

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return not self._gone.is_set()

    async def gone(self) -> None:
        """Wait until it has ended."""
        await self._gone.wait()

    def close(self) -> None:
        """Close the channel to it."""
        self._channel.close()

    async def prepare(self, listen: str) -> SharedFiles:
        """Report that this daemon knows what to run, and return what it shares.

        Args:
            listen: Where clients shall reach this daemon.

        Raises:
            ConnectionError: It has ended, changed its mind, or sent what cannot be read.
            UpgradeError: It states no protocol number, so it would not compare ours.
        """
        if not self._protocol:
            # Builds up to e573402 may repeat the message without its remedy, so both are in one.
            raise UpgradeError(
                f"the running daemon is of an earlier build that relayd {__version__} (hand-over protocol "
                f"{messages.PROTOCOL}) cannot take over from: restart the service instead"
            )
        self._send(messages.Prepared(__version__, listen, messages.PROTOCOL))
        lock, output, error, *listening = await self._handshake.expect(list)
        self._stdio = (output, error)
        return SharedFiles(lock, tuple(socket.socket(fileno=one) for one in listening))

    async def commit(self) -> HandoverState:
        """Report that this daemon could take over, and return what goes over; there is no way back.

        Raises:
            ConnectionError: The old daemon has ended, or changed its mind.
        """
        self._send(messages.Standby())
        committed = await self._handshake.expect(messages.Commit)
        if self._stdio:
            self._use_stdio(*self._stdio)
        return committed.state()

    def take_over(
        self,
        state: HandoverState,
        dispatcher: Dispatcher,
        serve: Callable[[int], None],
        count: Callable[[Exchange], None] = lambda _: None,
    ) -> None:
        """Schedule its requests from now on, and report that clients reach this daemon.

        Args:
            state: What goes over.
            dispatcher: Holds tickets for its requests; they are older than any of ours.
            serve: Serves a client's connection, by its descriptor.
            count: Counts what a request of its has used.
        """
        self._dispatcher, self._serve, self._count = dispatcher, serve, count
        running = {one.ticket.id: one for one in state.running}
        tickets = [*(one.ticket for one in state.running), *state.waiting]
        for theirs in sorted(tickets, key=lambda ticket: ticket.id):
            ticket, holder = self._hold(dispatcher, theirs)
            if (runs := running.get(theirs.id)) is not None:
                dispatcher.inherit(Inherited(ticket, runs.endpoint, runs.slots), holder)
            else:
                dispatcher.enter(ticket, holder)
        for message, descriptors in self._early:
            self._follow(dispatcher, message, descriptors)
        if not self.alive:
            self._leave_all(dispatcher)
        self._send(messages.TakenOver())

    def _hold(self, dispatcher: Dispatcher, theirs: Ticket) -> "tuple[Ticket, _RemoteHolder]":
        ticket = Ticket(dispatcher.next_id(), theirs.ask)
        self._tickets[theirs.id] = ticket
        return ticket, _RemoteHolder(theirs.id, self._send)

    def _leave_all(self, dispatcher: Dispatcher) -> None:
        while self._tickets:
            dispatcher.leave(self._tickets.popitem()[1])

    def _send(self, message: messages.FromNew) -> None:
        self._channel.send(messages.encode(message))

    def _receive(self, raw: bytes, descriptors: list[int]) -> None:
        message = messages.decode_from_old(raw)
        if isinstance(message, messages.Offered):
            self._handshake.put(descriptors)
        elif isinstance(message, messages.Commit):
            self._handshake.put(message)
        elif self._dispatcher:
            self._follow(self._dispatcher, message, descriptors)
        else:
            self._early.append((message, descriptors))

    def _follow(self, dispatcher: Dispatcher, message: messages.FromOld, descriptors: list[int]) -> None:
        """Do what the old daemon reports of its requests and connections once it has committed."""
        match message:
            case messages.IdleConnection():
                self._serve(descriptors[0])
            case messages.TicketArrived(theirs):
                dispatcher.enter(*self._hold(dispatcher, theirs))
            case messages.TicketAttemptFailed() as failed if ticket := self._tickets.get(failed.ticket_id):
                dispatcher.post(AttemptFailed(ticket.id, failed.sent, failed.hung_up, failed.deadline))
            case messages.TicketFinished(ticket_id, exchange) if ticket := self._tickets.pop(ticket_id, None):
                dispatcher.leave(ticket, exchange)
                if exchange is not None:
                    self._count(exchange)

    def _lose(self, reason: str) -> None:
        self._gone.set()
        self._handshake.end(reason)
        if self._dispatcher:
            self._leave_all(self._dispatcher)


@dataclass(frozen=True, slots=True)
class _RemoteHolder:
    """Holds a ticket for a request of the old daemon, under the id it has there."""

    ticket_id: int
    send: Callable[[messages.FromNew], None]

    def settle(self, answer: Dispatch | Refuse) -> None:
        """Send the scheduler's answer to the old daemon."""
        if isinstance(answer, Dispatch):
            self.send(messages.TicketPlaced(self.ticket_id, SentEndpoint.of(answer.endpoint)))
            return
        refusal = answer.refusal.value
        self.send(messages.TicketRefused(self.ticket_id, refusal, answer.reason, answer.retry_after_seconds))

    def interrupt(self, error: RequestError) -> None:
        """Leave the request to the old daemon, which ends it when its own time is over."""

    def interrupt_on(self, endpoint: Endpoint, error: RequestError) -> None:
        """Leave the answer to the old daemon, which sees its connection to the replica end."""


def predecessor_of(environ: Mapping[str, str]) -> Predecessor | None:
    """Return the daemon that started this one to take over from it; None for most.

    To be called on the event loop; the variable's descriptor is owned from here on.
    """
    number, protocol = environ.get(CHANNEL_VARIABLE, ""), environ.get(PROTOCOL_VARIABLE, "")
    if not number.isdecimal():
        return None
    try:
        os.set_inheritable(int(number), False)
        end = socket.socket(fileno=int(number))
    except OSError:  # inherited from somewhere as a word alone
        return None
    return Predecessor(end, os.getppid(), int(protocol) if protocol.isdecimal() else 0)

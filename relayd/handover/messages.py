"""The messages of a hand-over between two daemons, and the number of their meaning (protocol)."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from relayd.endpoint import Address, ElsewhereAddress, Endpoint, TcpAddress, UnixAddress
from relayd.handover.state import HandoverState
from relayd.profile import LOCAL, EndpointProfile
from relayd.scheduler import Dispatch, Exchange, Inherited, Refusal, Refuse, Ticket
from relayd.secret import Secret
from relayd.supervisor.snapshot import Snapshot
from relayd.tlsaddress import TlsAddress

PROTOCOL = 2
"""What these messages mean, as a number. Two daemons compare it before either gives anything away.

Raise it with a new kind of message, a field without a default, a field that goes, a new member of an
enumeration, or a new meaning. A field with a default needs no new number: unknown members are ignored, and
absent ones get their default. Builds up to e573402 state no number, which reads as 0.
"""


class SentEndpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """An endpoint; one of `socket`, `port` and `elsewhere` is set. It holds a key, so it goes nowhere else.

    A link to a node cannot be sent: where an endpoint is `elsewhere`, no connection to it can be opened.
    """

    replica: str
    incarnation: int
    key: str
    socket: str = ""
    port: int = 0
    host: str = "127.0.0.1"
    tls: bool = False
    elsewhere: str = ""
    profile: EndpointProfile = LOCAL

    @classmethod
    def of(cls, endpoint: Endpoint) -> Self:
        """Return an endpoint in a form that can be sent."""
        where: dict[str, Any]
        match endpoint.address:
            case UnixAddress(path):
                where = {"socket": str(path)}
            case TcpAddress(port, host):
                where = {"port": port, "host": host}
            case TlsAddress(host, port):
                where = {"port": port, "host": host, "tls": True}
            case other:
                where = {"elsewhere": str(other)}
        key, profile = endpoint.key.reveal(), endpoint.profile
        return cls(endpoint.replica, endpoint.incarnation, key, profile=profile, **where)

    def endpoint(self) -> Endpoint:
        """Return the endpoint that was sent."""
        return Endpoint(self._address(), Secret(self.key), self.replica, self.incarnation, self.profile)

    def _address(self) -> Address:
        if self.socket:
            return UnixAddress(Path(self.socket))
        if self.elsewhere:
            return ElsewhereAddress(self.elsewhere)
        return TlsAddress(self.host, self.port) if self.tls else TcpAddress(self.port, self.host)


class SentRequest(msgspec.Struct, frozen=True):
    """A request that runs on `slots` slots of a replica: `scheduler.Inherited`."""

    ticket: Ticket
    endpoint: SentEndpoint
    slots: int

    @classmethod
    def of(cls, running: Inherited) -> Self:
        """Return it in a form that can be sent."""
        return cls(running.ticket, SentEndpoint.of(running.endpoint), running.slots)

    def inherited(self) -> Inherited:
        """Return the request that was sent."""
        return Inherited(self.ticket, self.endpoint.endpoint(), self.slots)


class _Message(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Something one daemon sends to the other; the tag is the name of its class."""


class Prepared(_Message, frozen=True):
    """New: I know what to run. Builds of every protocol read it, so it only ever gains optional fields.

    Attributes:
        version: Of the new build.
        listen: Where clients shall reach it.
        protocol: The `PROTOCOL` of the new build.
    """

    version: str
    listen: str
    protocol: int = 0


class _StateMessage(_Message, frozen=True):
    """Carries a `HandoverState`."""

    running: tuple[SentRequest, ...] = ()
    waiting: tuple[Ticket, ...] = ()
    replicas: Mapping[str, Snapshot] = {}
    service_seconds: Mapping[str, float] = {}
    refused: Mapping[str, float] = {}
    suspected: Mapping[str, tuple[float, float]] = {}
    load_seconds: Mapping[str, float] = {}
    finished: tuple[Exchange, ...] = ()
    lent_key: str = ""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} running={len(self.running)} waiting={len(self.waiting)}>"

    @classmethod
    def of(cls, state: HandoverState) -> Self:
        """Return a state in a form that can be sent."""
        running = tuple(map(SentRequest.of, state.running))
        return cls(
            running,
            state.waiting,
            state.replicas,
            state.service_seconds,
            state.refused,
            state.suspected,
            state.load_seconds,
            state.finished,
            state.lent_key.reveal(),
        )

    def state(self) -> HandoverState:
        """Return the state that was sent."""
        running = tuple(one.inherited() for one in self.running)
        return HandoverState(
            running,
            self.waiting,
            self.replicas,
            self.service_seconds,
            self.refused,
            self.suspected,
            self.load_seconds,
            self.finished,
            Secret(self.lent_key),
        )


class Offered(_StateMessage, frozen=True):
    """Old: with it come copies of the lock, of standard output and error, and of each listening socket.

    Its state is what would go over now. A successor that cannot read it gives up here, where nothing is lost.
    """


class Standby(_Message, frozen=True):
    """New: I could take over."""


class Commit(_StateMessage, frozen=True):
    """Old: all yours. There is no way back."""


class TakenOver(_Message, frozen=True):
    """New: clients reach me."""


class IdleConnection(_Message, frozen=True):
    """Old: with it comes a client's connection that nothing runs on."""


class TicketArrived(_Message, frozen=True):
    """Old: a request has come to me all the same."""

    ticket: Ticket


class TicketAttemptFailed(_Message, frozen=True):
    """Old: an attempt failed.

    Attributes:
        ticket_id: Whose it was.
        sent: Whether the client has a part of the answer, which another replica is to continue.
        hung_up: Whether the replica hung up, so that the request may have ended it.
        deadline: Until when it may wait for that (the machine's monotonic seconds); None is without limit.
    """

    ticket_id: int
    sent: bool = False
    hung_up: bool = False
    deadline: float | None = None


class TicketFinished(_Message, frozen=True):
    """Old: a request is over."""

    ticket_id: int
    exchange: Exchange | None = None


class TicketPlaced(_Message, frozen=True):
    """New: send that request there."""

    ticket_id: int
    endpoint: SentEndpoint

    def effect(self) -> Dispatch:
        """Return what the scheduler decided."""
        return Dispatch(self.ticket_id, self.endpoint.endpoint())


class TicketRefused(_Message, frozen=True):
    """New: refuse that request.

    Attributes:
        refusal: Value of a `Refusal`; one that this build does not know reads as "unavailable".
        retry_after_seconds: None for never.
    """

    ticket_id: int
    refusal: str
    reason: str
    retry_after_seconds: float | None = None

    def effect(self) -> Refuse:
        """Return what the scheduler decided."""
        known = self.refusal in {one.value for one in Refusal}
        refusal = Refusal(self.refusal) if known else Refusal.UNAVAILABLE
        return Refuse(self.ticket_id, refusal, self.reason, self.retry_after_seconds)


FromOld = Offered | Commit | IdleConnection | TicketArrived | TicketAttemptFailed | TicketFinished
FromNew = Prepared | Standby | TakenOver | TicketPlaced | TicketRefused


def _path_text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in a message")


def _path_of(kind: type, text: Any) -> Path:
    if kind is Path:
        return Path(text)
    raise TypeError(f"{kind.__name__} has no form in a message")


encode = msgspec.json.Encoder(enc_hook=_path_text).encode
decode_from_old = msgspec.json.Decoder(FromOld, dec_hook=_path_of).decode
decode_from_new = msgspec.json.Decoder(FromNew).decode

_Kind = TypeVar("_Kind")


class Handshake:
    """The messages that come in a fixed order, to be waited for one by one."""

    def __init__(self) -> None:
        self._came: asyncio.Queue[object] = asyncio.Queue()

    def __repr__(self) -> str:
        return f"<Handshake: {self._came.qsize()} not read>"

    def put(self, message: object) -> None:
        """Add a message."""
        self._came.put_nowait(message)

    def end(self, reason: str) -> None:
        """Make `expect` raise ConnectionError once it has returned what came before."""
        self._came.put_nowait(ConnectionError(reason))

    async def expect(self, kind: type[_Kind]) -> _Kind:
        """Return the next message.

        Raises:
            ConnectionError: It is of another kind, or none comes any more.
        """
        message = await self._came.get()
        if isinstance(message, ConnectionError):
            raise message
        if not isinstance(message, kind):
            raise ConnectionError(f"expected {kind.__name__}, got {type(message).__name__}")
        return message

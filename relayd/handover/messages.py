"""What do two daemons say to each other while one takes over?"""

import asyncio
from pathlib import Path
from typing import TypeVar

import msgspec

from relayd.endpoint import Endpoint, TcpAddress, UnixAddress
from relayd.scheduler import Dispatch, Exchange, Inherited, Refusal, Refuse, Ticket
from relayd.secret import Secret


class Place(msgspec.Struct, frozen=True):
    """An endpoint; either `socket` or `port` is set. It holds a key, so it goes nowhere else."""

    replica: str
    incarnation: int
    key: str
    socket: str = ""
    port: int = 0

    @classmethod
    def of(cls, endpoint: Endpoint) -> "Place":
        """Return an endpoint in a form that can be sent."""
        address, key = endpoint.address, endpoint.key.reveal()
        if isinstance(address, UnixAddress):
            return cls(endpoint.replica, endpoint.incarnation, key, socket=str(address.path))
        return cls(endpoint.replica, endpoint.incarnation, key, port=address.port)

    def endpoint(self) -> Endpoint:
        """Return the endpoint that was sent."""
        address = UnixAddress(Path(self.socket)) if self.socket else TcpAddress(self.port)
        return Endpoint(address, Secret(self.key), self.replica, self.incarnation)


class Running(msgspec.Struct, frozen=True):
    """A request that runs: `scheduler.Inherited`."""

    ticket: Ticket
    place: Place
    slots: int

    @classmethod
    def of(cls, running: Inherited) -> "Running":
        """Return it in a form that can be sent."""
        return cls(running.ticket, Place.of(running.endpoint), running.slots)


class _Message(msgspec.Struct, frozen=True, tag=True):
    """Something one daemon says to the other."""


class Prepared(_Message, frozen=True):
    """New: I know what to run."""

    version: str
    listen: str


class Offer(_Message, frozen=True):
    """Old: with it come copies of the lock, of standard output and error, and of each listening socket."""


class Ready(_Message, frozen=True):
    """New: I could take over."""


class Commit(_Message, frozen=True):
    """Old: all yours.

    Attributes:
        running: Requests that run.
        waiting: Requests that wait.
        stopped: Replicas an operator has stopped.
    """

    running: list[Running]
    waiting: list[Ticket]
    stopped: list[str]


class Taken(_Message, frozen=True):
    """New: clients reach me."""


class Connection(_Message, frozen=True):
    """Old: with it comes a client's connection that nothing runs on."""


class Arrive(_Message, frozen=True):
    """Old: a request has come to me all the same."""

    ticket: Ticket


class Return(_Message, frozen=True):
    """Old: an attempt failed; `sent` says whether the client has a part of the answer."""

    ticket_id: int
    sent: bool = False


class Finish(_Message, frozen=True):
    """Old: a request is over."""

    ticket_id: int
    exchange: Exchange | None = None


class Placed(_Message, frozen=True):
    """New: send that request there."""

    ticket_id: int
    place: Place

    def effect(self) -> Dispatch:
        """Return what the scheduler decided."""
        return Dispatch(self.ticket_id, self.place.endpoint())


class Denied(_Message, frozen=True):
    """New: refuse that request."""

    ticket_id: int
    refusal: Refusal
    reason: str
    retry_after_seconds: float | None

    def effect(self) -> Refuse:
        """Return what the scheduler decided."""
        return Refuse(self.ticket_id, self.refusal, self.reason, self.retry_after_seconds)


FromOld = Offer | Commit | Connection | Arrive | Return | Finish
FromNew = Prepared | Ready | Taken | Placed | Denied

encode = msgspec.json.encode
decode_from_old = msgspec.json.Decoder(FromOld).decode
decode_from_new = msgspec.json.Decoder(FromNew).decode

_Kind = TypeVar("_Kind")


class Handshake:
    """The messages that come in a fixed order, to be waited for one by one."""

    def __init__(self) -> None:
        self._came: asyncio.Queue[object] = asyncio.Queue()

    def put(self, message: object) -> None:
        """Add a message; None says that the other side is gone."""
        self._came.put_nowait(message)

    async def expect(self, kind: type[_Kind]) -> _Kind:
        """Return the next message.

        Raises:
            ConnectionError: It is another one, or the other side is gone.
        """
        message = await self._came.get()
        if message is None:
            raise ConnectionError("the other daemon has ended")
        if not isinstance(message, kind):
            raise ConnectionError(f"{kind.__name__} was to come, not {type(message).__name__}")
        return message

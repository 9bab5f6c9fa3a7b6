"""Where one replica answers, how a connection to it is opened, and the key it answers to."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from relayd.profile import LOCAL, EndpointProfile
from relayd.secret import Secret

_UNIX = "unix:"

Handler = TypeVar("Handler")
"""What handles a connection: an `asyncio.Protocol`."""


class Connector(Protocol):
    """What an address needs of an event loop to open a connection."""

    def create_unix_connection(
        self, protocol_factory: Callable[[], Any], path: str, /
    ) -> Awaitable[tuple[Any, Any]]:
        """Connect to a socket file."""
        ...

    def create_connection(
        self, protocol_factory: Callable[[], Any], host: str, port: int, /, *, ssl: Any = None
    ) -> Awaitable[tuple[Any, Any]]:
        """Connect to a port; a context of `ssl` encrypts the connection."""
        ...


class Address(Protocol):
    """Where a server answers. It is a value: equal addresses lead to the same server, and `str` names it."""

    @property
    def authority(self) -> str:
        """The value of a Host header."""
        ...

    async def open(self, loop: Connector, handler: Callable[[], Handler]) -> Handler:
        """Return what handles the new connection, an `asyncio.Protocol` that has got its transport.

        Raises:
            OSError: Nothing answers there.
        """
        ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket file; `path` is absolute."""

    path: Path

    @property
    def authority(self) -> str:
        """The value of a Host header."""
        return "localhost"

    async def open(self, loop: Connector, handler: Callable[[], Handler]) -> Handler:
        """Return what handles the new connection; raises OSError if nothing listens there."""
        connected: Handler = (await loop.create_unix_connection(handler, str(self.path)))[1]
        return connected

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}"


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A port of a host, by default of this one."""

    port: int
    host: str = "127.0.0.1"

    @property
    def authority(self) -> str:
        """The value of a Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def open(self, loop: Connector, handler: Callable[[], Handler]) -> Handler:
        """Return what handles the new connection; raises OSError if nothing listens there."""
        connected: Handler = (await loop.create_connection(handler, self.host, self.port))[1]
        return connected

    def __str__(self) -> str:
        return self.authority


LocalAddress = UnixAddress | TcpAddress
"""Where a replica of ours listens."""


@dataclass(frozen=True, slots=True)
class ElsewhereAddress:
    """A server that only another daemon has a connection to; `name` is what it calls the address."""

    name: str

    @property
    def authority(self) -> str:
        """The value of a Host header."""
        return "localhost"

    async def open(self, loop: Connector, handler: Callable[[], Handler]) -> Handler:  # noqa: ARG002 - an address's signature
        """Raise ConnectionError."""
        raise ConnectionRefusedError(f"{self.name} is connected to another daemon")

    def __str__(self) -> str:
        return self.name


def parse_address(text: str) -> Address:
    """Return the address that `str` wrote as `text`.

    Raises:
        ValueError: It is not one.
    """
    if text.startswith(_UNIX):
        return UnixAddress(Path(text.removeprefix(_UNIX)))
    host, _, port = text.rpartition(":")
    if not (host and port.isdecimal()):
        raise ValueError(f"{text!r} is neither {_UNIX}PATH nor HOST:PORT")
    return TcpAddress(int(port), host.removeprefix("[").removesuffix("]"))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One incarnation of a replica, or of capacity elsewhere, as the router reaches it.

    Attributes:
        address: Where it answers.
        key: What it knows relayd by; an empty one is not sent.
        replica: Its name.
        incarnation: Which life of it.
        profile: What may be assumed of it.
    """

    address: Address
    key: Secret
    replica: str
    incarnation: int
    profile: EndpointProfile = field(default=LOCAL, compare=False)

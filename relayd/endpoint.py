"""Where one replica answers, and the key it answers to."""

from dataclasses import dataclass
from pathlib import Path

from relayd.secret import Secret


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket file; `path` is absolute."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A port on the loopback interface."""

    port: int
    host: str = "127.0.0.1"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


Address = UnixAddress | TcpAddress


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One incarnation of a replica, as the router reaches it."""

    address: Address
    key: Secret
    replica: str
    incarnation: int

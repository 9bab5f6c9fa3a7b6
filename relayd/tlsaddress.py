"""A server that is reached over TLS, its certificate verified against the authorities of this machine."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from relayd.endpoint import Connector, Handler, TcpAddress


@cache
def _verified() -> ssl.SSLContext:
    """Return what verifies certificates: reading the authorities takes 10 ms and more, so once."""
    return ssl.create_default_context()


@dataclass(frozen=True, slots=True)
class TlsAddress:
    """A port of a host where connections are encrypted."""

    host: str
    port: int = 443

    @property
    def authority(self) -> str:
        """The value of a Host header."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return shown if self.port == 443 else f"{shown}:{self.port}"

    async def open(self, loop: Connector, handler: Callable[[], Handler]) -> Handler:
        """Return what handles the new connection.

        Raises:
            OSError: Nothing listens there, or the certificate is not valid for the host (ssl.SSLError).
        """
        context = await asyncio.to_thread(_verified)
        found = await loop.create_connection(handler, self.host, self.port, ssl=context)
        connected: Handler = found[1]
        return connected

    def __str__(self) -> str:
        return f"tls:{TcpAddress(self.port, self.host)}"

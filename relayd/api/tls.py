"""How is a client's connection encrypted (TLS), and how is a renewed certificate taken up?"""

import asyncio
import os
import ssl
from pathlib import Path
from typing import Protocol, cast

from relayd.errors import ConfigError
from relayd.router import FULL_BYTES, EagerRun

_LOOK_AT = ("st_mtime_ns", "st_size", "st_ino")


class Certificate:
    """A certificate with its key, as their files have them.

    TLS 1.2 and 1.3, with the library's own choice of ciphers.

    Args:
        cert: PEM: the certificate, then those of the authorities between it and a root.
        key: PEM: its private key, without a password.

    Attributes:
        context: What handshakes use; a renewed certificate is there for those that begin later.

    Raises:
        ConfigError: A file cannot be read, is readable by other users, or does not belong to the other.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert, self._key = cert, key
        self._seen = self._look()
        self.context = self._loaded()

    def __repr__(self) -> str:
        return f"<Certificate {self._cert}>"

    def refresh(self) -> bool:
        """Read the files again if they have changed, and return whether they had. Blocks.

        Raises:
            ConfigError: They cannot be used; what was read before goes on.
        """
        if (now := self._look()) == self._seen:
            return False
        self._seen = now
        self._loaded()
        self.context.load_cert_chain(self._cert, self._key, _no_password)
        return True

    def _look(self) -> list[tuple[int, ...]]:
        try:
            return [
                tuple(getattr(path.stat(), name) for name in _LOOK_AT) for path in (self._cert, self._key)
            ]
        except OSError as error:
            raise ConfigError(f"server.tls_cert or tls_key cannot be read: {error}") from error

    def _loaded(self) -> ssl.SSLContext:
        """Return a context of what the files hold now."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            mode = os.stat(self._key).st_mode  # noqa: PTH116 - the target of a link is meant
            if mode & 0o007:
                raise ConfigError(
                    f"server.tls_key {self._key} can be read by every user of this machine",
                    remedy=f"Take that away: `chmod o= {self._key}`.",
                )
            context.load_cert_chain(self._cert, self._key, _no_password)
        except ssl.SSLError as error:
            raise ConfigError(
                f"server.tls_cert {self._cert} and tls_key {self._key} cannot be used: "
                f"{error.reason or error}",
                remedy="Both must be PEM, and the key that of the certificate, without a password.",
            ) from error
        except OSError as error:
            raise ConfigError(f"server.tls_cert or tls_key cannot be read: {error}") from error
        return context


def _no_password() -> str:
    """Answer for who would type the password of a key: OpenSSL asks on the terminal else."""
    return ""


class Securable(Protocol):
    """Who a connection is for, once it is encrypted."""

    def secured(self, transport: asyncio.Transport) -> None:
        """Use this transport from now on."""
        ...

    def data_received(self, data: bytes) -> None:
        """Take what the client has sent."""
        ...

    def connection_lost(self, exc: Exception | None) -> None:
        """End: there was no handshake, or the client has left."""
        ...


class Handshakes:
    """Encrypts connections after they were accepted and counted; a silent client takes a place, no more.

    Args:
        context: What they use.
        seconds: How long one may take.
    """

    def __init__(self, context: ssl.SSLContext, seconds: float) -> None:
        self._context = context
        self._seconds = seconds
        self._under_way = 0

    def __repr__(self) -> str:
        return f"<Handshakes: {self._under_way} under way>"

    def begin(self, transport: asyncio.Transport, connection: Securable) -> None:
        """Encrypt a connection of which nothing has been read."""
        EagerRun(self._run(transport, connection))  # at once: the first bytes are the handshake's

    async def _run(self, transport: asyncio.Transport, connection: Securable) -> None:
        early, loop = _Early(), asyncio.get_running_loop()
        self._under_way += 1
        try:
            secured = await loop.start_tls(
                transport, early, self._context, server_side=True, ssl_handshake_timeout=self._seconds
            )
        except (OSError, TimeoutError) as error:  # it is not TLS, or the client has left, or is silent
            transport.abort()
            connection.connection_lost(error)
            return
        finally:
            self._under_way -= 1
        if secured is None or secured.is_closing():  # it has left in the middle of it
            transport.abort()
            connection.connection_lost(None)
            return
        secured.set_write_buffer_limits(high=FULL_BYTES)
        connection.secured(secured)
        secured.set_protocol(cast("asyncio.Protocol", connection))
        if early.data:
            connection.data_received(bytes(early.data))


class _Early(asyncio.Protocol):
    """Keeps what comes with the end of a handshake, until the connection is handed on."""

    def __init__(self) -> None:
        self.data = bytearray()

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.data += data

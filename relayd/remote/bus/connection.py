"""How does this machine stay connected to NATS: subscriptions, sending, and every reconnection?

nats-py gives up by default; here it connects without limit, and where its client closes all the same
(credentials that the server does not have yet) another one is made. Connections over the bus end when it
breaks.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from relayd.journal import Journal
from relayd.remote.bus.credentials import BusCredentials
from relayd.remote.bus.subjects import inbox

PING_SECONDS, MISSED_PINGS = 10, 3
"""A dead server is noticed after half a minute."""

_CONNECT_SECONDS = 5
_RETRY_SECONDS = 1.0
_NO_LIMIT = -1
_PENDING_BYTES = 256 * 1024 * 1024
"""Of a subscription: what the credit of all streams lets come at most is below."""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """What is wanted of the bus.

    Attributes:
        subject: With wildcards.
        take: Gets subject and payload of each message.
    """

    subject: str
    take: Callable[[str, bytes], None]


class BusConnection:
    """This machine's connection to NATS.

    Args:
        url: Of one server or several, with commas.
        credentials: By which the server knows this machine.
        subscribed: What is wanted.
        on_lost: Called when the connection breaks: what was on its way is lost.

    Attributes:
        state: `connected`, or why it is not.
    """

    def __init__(
        self,
        url: str,
        credentials: BusCredentials,
        subscribed: tuple[Subscribed, ...],
        on_lost: Callable[[], None],
    ) -> None:
        self._url, self._credentials, self._subscribed = url, credentials, subscribed
        self._on_lost = on_lost
        self._client = Client()
        self._up, self._down, self._closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._random = Random()  # noqa: S311 - it spreads attempts
        self._journal = Journal("remote")
        self.state = "connecting"

    def __repr__(self) -> str:
        return f"<BusConnection to {self._url}: {self.state}>"

    @property
    def client(self) -> Client:
        """What nats-py offers besides."""
        return self._client

    async def run(self) -> None:
        """Stay connected until cancelled."""
        try:
            while True:
                self._closed.clear()
                await self._connect()
                await self._closed.wait()
                await asyncio.sleep(_RETRY_SECONDS * self._random.uniform(0.5, 1.5))
        finally:
            self._broken("this daemon ends")
            await self._client.close()

    async def connected(self) -> None:
        """Wait until there is a bus."""
        await self._up.wait()

    async def broken(self, seconds: float) -> None:
        """Wait until the connection breaks, for some seconds at most."""
        try:
            async with asyncio.timeout(seconds):
                await self._down.wait()
        except TimeoutError:
            return

    async def publish(self, subject: str, payload: bytes) -> None:
        """Send a message.

        Raises:
            ConnectionError: There is no bus, or it takes no such message.
        """
        if not self._up.is_set():
            raise ConnectionResetError(f"there is no bus: {self.state}")
        try:
            await self._client.publish(subject, payload)
        except errors.Error as error:
            raise ConnectionResetError(f"the bus takes no message: {error}") from error

    async def _connect(self) -> None:
        self._client = Client()
        try:
            await self._client.connect(
                servers=self._url.split(","),
                name=f"relayd {self._credentials.role.value} {self._credentials.name}",
                nkeys_seed_str=self._credentials.seed,
                inbox_prefix=inbox(self._credentials.name),
                tls=_trust(self._credentials.ca) if self._credentials.ca else None,
                connect_timeout=_CONNECT_SECONDS,
                reconnect_time_wait=1,
                max_reconnect_attempts=_NO_LIMIT,
                ping_interval=PING_SECONDS,
                max_outstanding_pings=MISSED_PINGS,
                error_cb=self._on_error,
                disconnected_cb=self._on_disconnected,
                reconnected_cb=self._on_connected,
                closed_cb=self._on_closed,
            )
            for one in self._subscribed:
                await self._client.subscribe(
                    one.subject, cb=_callback(one), pending_msgs_limit=0, pending_bytes_limit=_PENDING_BYTES
                )
            await self._on_connected()
        except (errors.Error, OSError, TimeoutError) as error:
            self._broken(str(error) or type(error).__name__)
            self._closed.set()

    async def _on_connected(self) -> None:
        self.state = "connected"
        self._journal.info("bus.connected", url=self._url)
        self._up.set()
        self._down.clear()

    async def _on_disconnected(self) -> None:
        self._broken("the connection to the bus broke")

    async def _on_closed(self) -> None:
        self._broken("the connection to the bus was closed")
        self._closed.set()

    async def _on_error(self, error: Exception) -> None:
        self._journal.warning("bus.failed", reason=str(error) or type(error).__name__)
        if not self._up.is_set():
            self.state = str(error) or type(error).__name__

    def _broken(self, reason: str) -> None:
        was_up = self._up.is_set()
        self._up.clear()
        self._down.set()
        if was_up:
            self.state = reason
            self._journal.warning("bus.disconnected", reason=reason)
            self._on_lost()


def _callback(one: Subscribed) -> Callable[[Msg], Awaitable[None]]:
    async def take(message: Msg) -> None:
        one.take(message.subject, message.data)

    return take


def _trust(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca)

"""How does a worker stay connected to its hub: where, with which secret, and when is it tried again?"""

import asyncio
import contextlib
from dataclasses import dataclass
from random import Random
from typing import Protocol

import aiohttp
from yarl import URL

from relayd.errors import HubLostError, InvalidMessageError, UsageError
from relayd.remote.modelrelay.backend import Backend
from relayd.remote.modelrelay.messages import LONGEST_MESSAGE, PATH, SECRET_FIELD
from relayd.remote.modelrelay.worker import (
    AFTER_SHUTDOWN_SECONDS,
    FIRST_SECONDS,
    Backoff,
    Duty,
    WorkerOffer,
)
from relayd.secret import Secret

SILENT_SECONDS = 90.0
"""How long a hub may send nothing, as the stock worker allows it; ModelRelay's server pings every 30 s."""

FOLLOW_SECONDS = 5.0
"""How often the backend is asked for its models."""

_CONNECT_SECONDS = 15.0
_REFUSED_CODES = frozenset({1008})
_REFUSED_STATUSES = frozenset({401, 403})
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


class JoinReport(Protocol):
    """Who is shown how a worker does."""

    def accepted(self, models: list[str], warnings: list[str]) -> None:
        """The hub has accepted it, with these models."""
        ...

    def refused(self, reason: str, seconds: float) -> None:
        """The hub has refused it, and is asked again in so many seconds."""
        ...

    def lost(self, reason: str, seconds: float) -> None:
        """There is no connection, and the next attempt is in so many seconds."""
        ...


def hub_url(text: str, provider: str) -> URL:
    """Return where a worker connects.

    Raises:
        UsageError: `text` is not the URL of a hub.
    """
    url = URL(text if "://" in text else f"ws://{text}")
    scheme = _SCHEMES.get(url.scheme)
    if scheme is None or not url.host or url.user:
        raise UsageError(f"{text!r} is not the URL of a hub.", remedy="Name one, as wss://hub.example.org.")
    path = url.path.rstrip("/").removesuffix(PATH).rstrip("/")
    return url.with_scheme(scheme).with_path(path + PATH).with_query(provider=provider)


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """Why a session with a hub is over.

    Attributes:
        reason: A sentence's middle.
        is_refused: The hub does not accept this worker.
        was_accepted: The hub had accepted it.
        after_shutdown: It has announced its end.
    """

    reason: str
    is_refused: bool = False
    was_accepted: bool = False
    after_shutdown: bool = False


class _HubWebSocket:
    """The WebSocket of one session."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, is_relayd: bool) -> None:
        self._socket = socket
        self.is_relayd = is_relayd

    async def send(self, frame: str) -> None:
        try:
            await self._socket.send_str(frame)
        except (ConnectionError, aiohttp.ClientError, RuntimeError) as error:
            raise HubLostError(str(error) or "the connection is closed") from error


class WorkerMembership:
    """A worker and its hub, until `leave`.

    Args:
        hub: Where to connect; see `hub_url`.
        secret: The worker's secret there.
        offer: What is offered.
        backend: Carries out requests.
        report: Is shown how it does.
        random: Spreads attempts.
        follow_seconds: How often the backend is asked for its models.
        first_seconds: How long is waited before the second attempt to connect.
    """

    def __init__(
        self,
        hub: URL,
        secret: Secret,
        offer: WorkerOffer,
        backend: Backend,
        report: JoinReport,
        random: Random,
        *,
        follow_seconds: float = FOLLOW_SECONDS,
        first_seconds: float = FIRST_SECONDS,
    ) -> None:
        self._hub, self._secret, self._offer = hub, secret, offer
        self._backend, self._report = backend, report
        self._backoff = Backoff(random, first_seconds)
        self._follow_seconds = follow_seconds
        self._duty: Duty | None = None
        self._leaving = asyncio.Event()

    def __repr__(self) -> str:
        return f"<WorkerMembership of {self._hub.host} {self._duty!r}>"

    async def run(self) -> None:
        """Serve the hub until `leave` was called."""
        async with aiohttp.ClientSession(trust_env=True) as client:
            while not self._leaving.is_set():
                end = await self._session(client)
                if self._leaving.is_set():
                    return
                await self._pause(end)

    async def leave(self, seconds: float) -> None:
        """Offer nothing more, let what runs end within so many seconds, and disconnect."""
        duty = self._duty
        if duty is not None and duty.is_accepted:
            with contextlib.suppress(TimeoutError, HubLostError):
                async with asyncio.timeout(seconds):
                    await duty.leave()
                    await duty.idle()
        self._leaving.set()

    async def _pause(self, end: SessionEnd) -> None:
        if end.was_accepted:
            self._backoff.reset()
        seconds = AFTER_SHUTDOWN_SECONDS if end.after_shutdown else self._backoff.next_seconds()
        (self._report.refused if end.is_refused else self._report.lost)(end.reason, seconds)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._leaving.wait(), seconds)

    async def _session(self, client: aiohttp.ClientSession) -> SessionEnd:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                socket = await client.ws_connect(
                    self._hub,
                    headers={SECRET_FIELD: self._secret.reveal()},
                    max_msg_size=LONGEST_MESSAGE,
                    autoping=True,
                )
        except aiohttp.WSServerHandshakeError as error:
            refused = error.status in _REFUSED_STATUSES
            return SessionEnd(f"it answered {error.status} to {self._hub.path}", refused)
        except TimeoutError:
            return SessionEnd(f"it did not answer in {_CONNECT_SECONDS:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return SessionEnd(str(error) or type(error).__name__)
        is_relayd = socket._response.headers.get("Server", "").startswith("relayd")  # noqa: SLF001 - no other way
        self._duty = duty = Duty(
            self._offer, self._backend, _HubWebSocket(socket, is_relayd=is_relayd), self._report.accepted
        )
        try:
            return await self._serve(socket, duty)
        finally:
            await duty.end()
            await socket.close()

    async def _serve(self, socket: aiohttp.ClientWebSocketResponse, duty: Duty) -> SessionEnd:
        """Carry out what the hub sends until the socket closes, or this worker leaves."""
        await duty.register()
        tasks = {
            asyncio.create_task(self._read(socket, duty)),
            asyncio.create_task(self._follow(duty)),
            asyncio.create_task(self._leave()),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _leave(self) -> SessionEnd:
        await self._leaving.wait()
        return SessionEnd("this worker leaves")

    async def _follow(self, duty: Duty) -> SessionEnd:
        while True:
            await asyncio.sleep(self._follow_seconds)
            try:
                await duty.follow()
            except HubLostError as error:
                return SessionEnd(str(error), was_accepted=duty.is_accepted)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse, duty: Duty) -> SessionEnd:
        reason = "the connection was lost"
        refused = False
        try:
            while True:
                message = await socket.receive(SILENT_SECONDS)
                if message.type is aiohttp.WSMsgType.TEXT:
                    await duty.receive(message.data)
                elif message.type is aiohttp.WSMsgType.CLOSE:
                    code, reason = message.data, str(message.extra or f"it closed with code {message.data}")
                    refused = code in _REFUSED_CODES
                elif message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING}:
                    break
                elif message.type is aiohttp.WSMsgType.ERROR:
                    reason = str(socket.exception() or "the connection failed")
                    break
                if message.type is aiohttp.WSMsgType.CLOSE:
                    break
        except TimeoutError:
            reason = f"it sent nothing for {SILENT_SECONDS:g} s"
        except (InvalidMessageError, HubLostError) as error:
            reason = str(error)
        return SessionEnd(reason, refused, duty.is_accepted, duty.is_draining)

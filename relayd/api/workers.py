"""The door of ModelRelay's workers: who may connect, and the WebSocket of each."""

import asyncio
from collections.abc import Callable

import aiohttp
from aiohttp import web

from relayd.api.admission import Access, RequestContext, Route
from relayd.api.gate import carry_others, upgrade
from relayd.clock import Clock
from relayd.errors import InvalidMessageError, NotServedError, RequestError
from relayd.journal import Journal
from relayd.remote.modelrelay.attempts import FailedAttempts
from relayd.remote.modelrelay.messages import LONGEST_MESSAGE, PATH, SECRET_FIELD
from relayd.remote.modelrelay.registration import DEFAULT_PROVIDER
from relayd.remote.modelrelay.workers import Workers
from relayd.secret import Secret

REFUSED = 1008
AUTHENTICATION_FAILED = "worker authentication failed"
RATE_LIMITED = "worker authentication temporarily rate limited"
"""ModelRelay's words, which its worker shows."""

_PARAMETER = "worker_secret"
_CLOSE_SECONDS = 1.0

Authenticate = Callable[[Secret], bool]
"""Returns whether a secret is a worker's."""


class WorkerDoor:
    """Lets workers in.

    Args:
        workers: Those that are connected.
        authenticate: Judges secrets; None while there is nothing that a worker could prove itself with.
        clock: Times the wait of a peer that fails.
        client_of: Returns the address of a request's sender, behind a proxy too.
    """

    def __init__(
        self,
        workers: Workers,
        authenticate: Callable[[], Authenticate | None],
        clock: Clock,
        client_of: Callable[[web.BaseRequest], str],
    ) -> None:
        self._workers = workers
        self._authenticate = authenticate
        self._clock = clock
        self._client_of = client_of
        self._failed = FailedAttempts()

    def __repr__(self) -> str:
        return f"<WorkerDoor {self._failed!r}>"

    async def connect(self, request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        """Carry a worker's session over a WebSocket until that closes.

        Raises:
            RequestError: There is no worker's secret here, or it is not a WebSocket.
        """
        authenticate = self._authenticate()
        if authenticate is None:
            raise NotServedError(
                "This hub has no secret for workers.", remedy="Set worker_secret in [hub] of its relay.toml."
            )
        socket = web.WebSocketResponse(
            compress=False, max_msg_size=LONGEST_MESSAGE, timeout=_CLOSE_SECONDS, autoping=True
        )
        if not socket.can_prepare(request):
            raise RequestError(
                f"{PATH} takes a WebSocket.", remedy="Workers connect here: modelrelay-worker."
            )
        peer = self._client_of(request)
        refusal = self._judge(request, peer, authenticate)
        upgrade(request)
        socket.headers.update(context.headers)
        await socket.prepare(request)
        if refusal:
            Journal("remote").warning("worker.refused", address=peer, reason=refusal)
            await socket.close(code=REFUSED, message=refusal.encode())
            return socket
        with carry_others(request):
            await self._carry(
                _WorkerWebSocket(socket), request.query.get("provider") or DEFAULT_PROVIDER, peer
            )
        return socket

    def _judge(self, request: web.BaseRequest, peer: str, authenticate: Authenticate) -> str:
        """Return why a worker is refused; empty if it is not. The header counts even where it is wrong."""
        now = self._clock.monotonic()
        if self._failed.is_blocked(peer, now):
            return RATE_LIMITED
        secret = request.headers.get(SECRET_FIELD)
        if secret is None:
            secret = request.query.get(_PARAMETER, "")
        if secret and authenticate(Secret(secret)):
            self._failed.succeeded(peer)
            return ""
        self._failed.failed(peer, now)
        return AUTHENTICATION_FAILED

    async def _carry(self, socket: "_WorkerWebSocket", provider: str, peer: str) -> None:
        sending = asyncio.create_task(socket.send_all())
        try:
            await self._workers.serve(socket, provider, peer)
        finally:
            socket.end()
            await sending


class _WorkerWebSocket:
    """A worker's WebSocket: frames are sent in order by one task, so that sending waits for nothing."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._frames: asyncio.Queue[str | tuple[int, str] | None] = asyncio.Queue()

    def send(self, frame: str) -> None:
        self._frames.put_nowait(frame)

    def close(self, code: int, reason: str) -> None:
        self._frames.put_nowait((code, reason))

    def end(self) -> None:
        """Close once everything is sent."""
        self._frames.put_nowait(None)

    async def send_all(self) -> None:
        """Send what there is until the socket closes."""
        try:
            while isinstance(frame := await self._frames.get(), str):
                await self._socket.send_str(frame)
        except (ConnectionError, RuntimeError):
            return
        code, reason = frame or (aiohttp.WSCloseCode.OK, "")
        await self._socket.close(code=code, message=reason.encode())

    async def receive(self, seconds: float) -> str | None:
        message = await self._socket.receive(seconds)
        if message.type is aiohttp.WSMsgType.TEXT:
            return str(message.data)
        if message.type is aiohttp.WSMsgType.BINARY:
            raise InvalidMessageError("A frame is binary.")
        return None


def worker_routes(door: WorkerDoor) -> tuple[Route, ...]:
    """Return the route of workers, who prove themselves by a worker's secret and never by a client's key."""
    return (Route("GET", PATH, door.connect, Access.PUBLIC),)

"""How does aiohttp's server answer a request that the door has let in?"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from relayd.api.admission import Admitted, DirectHandler, Handler, RequestContext
from relayd.api.answer import Answer, request_id
from relayd.api.door import Door
from relayd.api.errors import INTERNAL, error_answer
from relayd.api.gate import Gate
from relayd.api.head import Presented
from relayd.api.streamed import StreamedClient
from relayd.errors import RequestError
from relayd.journal import Journal

AiohttpHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def behind(door: Callable[[], Door]) -> AiohttpHandler:
    """Return what answers aiohttp's requests by the rules of a door that may be replaced at any time."""

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        return await answer(door(), request)

    return serve


async def answer(door: Door, request: web.BaseRequest) -> web.StreamResponse:
    """Answer one request."""
    name = request_id(request.headers)
    found = door.admit(_asked(request), name)
    if not isinstance(found, Admitted):
        refusal = found.response()
        if not request.content.is_eof():
            refusal.force_close()
        return refusal
    try:
        with _counted(request, lasting=found.route.lasting):
            response = await found.route.handler(request, found.context)
    except RequestError as error:
        unread = not request.content.is_eof()
        response = _instead(request, error_answer(error, found.dialect, unread=unread))
    except ConnectionError:
        response = Unanswered()
    except Exception:  # noqa: BLE001 - every fault is answered, or cuts the answer off
        Journal("api").error("request.failed", trace=True, request_id=name)
        response = _instead(request, error_answer(INTERNAL, found.dialect, unread=True))
    if not response.prepared:
        response.headers.update(found.context.headers)
    return response


class Unanswered(web.StreamResponse):
    """Has aiohttp close the connection: its client has left, or only a close can end what has begun."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002 - aiohttp's signature
        """Write nothing.

        Raises:
            ConnectionAbortedError: Always.
        """
        raise ConnectionAbortedError("only a close can end this answer")


def _instead(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Return the response that reports a failure, unless another one has begun."""
    return Unanswered() if request.writer.output_size > 0 else answer.response()


def over_aiohttp(direct: DirectHandler) -> Handler:
    """Return how aiohttp's server answers what the lane answers directly."""

    async def serve(request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        client = StreamedClient(request)
        await direct(_AiohttpIncoming(request), client, context)
        return client.response

    return serve


class _AiohttpIncoming:
    """A request of aiohttp's whose body is not read."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self.headers = request.headers
        self.peer = request.remote or ""
        self.length = None
        self.is_json = False
        self.content = request.content

    def whole(self) -> bytes | None:
        """Return the body, if all of it is here."""
        return self.content.read_nowait() if self.content.is_eof() else None

    async def go_on(self) -> None:
        """Ask a client that waits for it to send the body."""
        request = self._request
        if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= (1, 1):
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # as aiohttp does: the response itself has not begun


def _asked(request: web.BaseRequest) -> Presented:
    """Return what a door judges of a request.

    Raises:
        ConnectionResetError: The client left before it was looked at.
    """
    transport = request.transport
    local, peer = (transport.get_extra_info(end) if transport else None for end in ("sockname", "peername"))
    if local is None or peer is None:
        raise ConnectionResetError("the client left before its request was looked at")
    size = sum(len(name) + len(value) + 4 for name, value in request.raw_headers)
    return Presented(
        request.method,
        request.raw_path,
        request.version,
        request.headers,
        size,
        str(local[0]),
        str(peer[0]),
        request.secure,
    )


def peer_of(request: web.BaseRequest) -> str:
    """Return the address at the other end of a request's connection; empty when it has gone."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return str(peer[0]) if peer else ""


@contextmanager
def _counted(request: web.BaseRequest, *, lasting: bool) -> Iterator[None]:
    """Count a request with a lasting answer among those that a drain ends at once."""
    gate = request.transport
    if not lasting or not isinstance(gate, Gate):
        yield
        return
    gate.lasts(lasting=True)
    try:
        yield
    finally:
        gate.lasts(lasting=False)

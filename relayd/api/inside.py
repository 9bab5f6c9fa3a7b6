"""How does the daemon itself ask one of its doors, without a connection (lines of a batch)?

A line takes the same path as a request of a client: the route of its path, with the rights of its key, so
that every rule of the dialect holds. What the route writes is gathered here.
"""

import time
from collections.abc import AsyncIterator, Iterable, Mapping

from multidict import CIMultiDict, CIMultiDictProxy

from relayd.api.admission import RequestContext, Route
from relayd.api.errors import INTERNAL, error_answer
from relayd.api.grants import KeyGrant
from relayd.api.guard import Headers
from relayd.batch.results import LineAnswer
from relayd.errors import NotFoundError, RequestError, StoppingError
from relayd.journal import Journal
from relayd.router import Dialect, Fields
from relayd.scheduler.ask import BACKGROUND

_FIELDS = CIMultiDictProxy(CIMultiDict({"Content-Type": "application/json"}))

_CUT = StoppingError("The answer was cut off.", remedy="The line is run again.", retry_after_seconds=1)


class InsideDoor:
    """Answers requests that come from the daemon itself.

    Args:
        routes: What can be asked for.
        dialect: How errors are written where no route sets it.
    """

    def __init__(self, routes: Iterable[Route], dialect: Dialect) -> None:
        self._dialect = dialect
        self._routes: Mapping[str, Route] = {
            route.path: route for route in routes if route.method == "POST" and route.direct is not None
        }

    def __repr__(self) -> str:
        return f"<InsideDoor paths={len(self._routes)}>"

    def refuse(self, path: str, request_id: str, error: RequestError) -> LineAnswer:
        """Return how a door refuses a request with `error`."""
        route = self._routes.get(path)
        answer = error_answer(error, (route.dialect if route else None) or self._dialect)
        return LineAnswer(answer.status, answer.body, request_id, error.code, error.retry_after_seconds)

    async def ask(self, path: str, body: bytes, request_id: str, grant: KeyGrant) -> LineAnswer:
        """Return what a door answers.

        Args:
            path: As clients write it.
            body: JSON.
            request_id: Of the request.
            grant: Whose request it is.
        """
        route = self._routes.get(path)
        dialect = (route.dialect if route else None) or self._dialect
        client, began = GatheredClient(), time.monotonic()
        fields = {"X-Request-ID": request_id}
        context = RequestContext(request_id, grant, trusted=True, tail="", headers=fields, klass=BACKGROUND)
        try:
            if route is None or route.direct is None:
                raise NotFoundError(f"There is nothing at {path[:100]!r}.")
            await route.direct(InsideRequest(body), client, context)
            if not client.is_whole:
                raise _CUT
        except RequestError as error:
            return self.refuse(path, request_id, error)
        except Exception:  # noqa: BLE001 - a fault in one line ends no other
            Journal("api").error("request.failed", trace=True, request_id=request_id)
            answer = error_answer(INTERNAL, dialect)
            return LineAnswer(answer.status, answer.body, request_id, INTERNAL.code)
        took = round(1000 * (time.monotonic() - began)) - client.queue_ms
        return LineAnswer(client.status, client.body(), request_id, milliseconds=max(took, 0))


class InsideRequest:
    """A request whose body is here.

    Attributes:
        headers: Its header fields.
        content: Of a body that still arrives; this one does not.
        peer: The client's address.
        length: Of the body.
        is_json: It is.
    """

    peer = ""
    is_json = True
    headers: Headers = _FIELDS

    def __init__(self, body: bytes) -> None:
        self.content = _NoContent()
        self.length: int | None = len(body)
        self._body: bytes | None = body

    def __repr__(self) -> str:
        return f"<InsideRequest {self.length} bytes>"

    def whole(self) -> bytes | None:
        """Return the body, once."""
        body, self._body = self._body, None
        return body

    async def go_on(self) -> None:
        """Return at once: nothing is awaited."""


class _NoContent:
    async def iter_any(self) -> AsyncIterator[bytes]:
        """Yield nothing."""
        pieces: tuple[bytes, ...] = ()
        for piece in pieces:
            yield piece


class GatheredClient:
    """Takes an answer into memory.

    Attributes:
        status: HTTP status.
        is_whole: The answer is complete.
        queue_ms: How long the request has waited for its slot.
        is_gone: It never leaves.
        splices: It reads no framing.
    """

    splices = False
    is_gone = False

    def __init__(self) -> None:
        self.status = self.queue_ms = 0
        self.is_whole = False
        self._pieces: list[bytes] = []

    def __repr__(self) -> str:
        return f"<GatheredClient {self.status}, {self.sent_bytes} bytes>"

    @property
    def sent_bytes(self) -> int:
        """Bytes of the answer so far."""
        return sum(map(len, self._pieces))

    def body(self) -> bytes:
        """Return the whole body."""
        return b"".join(self._pieces)

    def begin(self, status: int, fields: Fields, *, framed: bool) -> None:  # noqa: ARG002 - the protocol's
        """Take note of the status, and of how long the request has waited."""
        self.status = status
        waited = next((value for name, value in fields if name == "X-Relayd-Queue-Ms"), "")
        self.queue_ms = int(waited) if waited.isdecimal() else 0

    def write(self, data: bytes) -> bool:
        """Take a part of the body; there is always room for more."""
        self._pieces.append(bytes(data))
        return False

    async def room(self, stall_seconds: float) -> None:
        """Return at once."""

    async def end(self, stall_seconds: float) -> None:  # noqa: ARG002 - nothing stalls here
        """Take note that the answer is complete."""
        self.is_whole = True

    def close(self) -> None:
        """Take note that nothing more comes: the answer was cut off."""

    def abort(self) -> None:
        """Take note that the answer was cut off."""

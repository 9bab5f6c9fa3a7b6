"""Who answers a request, once it may come in?"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from aiohttp import web

from relayd.api.answer import empty_answer, name_request
from relayd.api.errors import error_answer
from relayd.api.guard import Policy, check_framing, check_host, check_origin, split_target
from relayd.api.keys import Keyring, unauthorized
from relayd.errors import MethodNotAllowedError, NotFoundError, RequestError

_HEADER_NAMES = re.compile(r"[A-Za-z0-9_, -]{1,1024}")


@dataclass(frozen=True, slots=True)
class Visit:
    """What the door found out about a request.

    Attributes:
        request_id: Its id.
        key: The name of its key, if one came along.
        trusted: Whether it may see more than the public: it has a key, or none is needed.
        tail: The rest of its raw path, on a route that ends with a slash.
        headers: Fields that its response must carry, also one that is streamed.
    """

    request_id: str
    key: str | None
    trusted: bool
    tail: str
    headers: Mapping[str, str]


Handler = Callable[[web.BaseRequest, Visit], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One thing a client can ask for.

    Attributes:
        method: GET (which answers HEAD too) or POST.
        path: Exactly as clients write it; one that ends with a slash takes any tail.
        handler: Who answers.
        public: Whether it is answered without a key; a wrong one is refused all the same.
    """

    method: str
    path: str
    handler: Handler
    public: bool = False


class Door:
    """Checks every request, finds its handler, and signs the answer.

    Paths are compared as they came, undecoded: nothing that needs normalising is ever found.
    """

    def __init__(self, routes: Iterable[Route], policy: Policy, keys: Keyring) -> None:
        self.routes = tuple(routes)
        self._policy = policy
        self._keys = keys

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; what is not a RequestError is a fault, which the connection reports."""
        headers = {"X-Request-ID": name_request(request)}
        try:
            answer = await self._admit(request, headers)
        except RequestError as error:
            answer = self._refuse(request, error)
        if not answer.prepared:
            answer.headers.update(headers)
        return answer

    async def _admit(self, request: web.BaseRequest, headers: dict[str, str]) -> web.StreamResponse:
        """Check a request; `headers` collects what its response must carry, refused or not."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client left before its request was looked at")
        fields = request.headers
        check_framing(request.version, fields, sum(len(n) + len(v) + 4 for n, v in request.raw_headers))
        authority, path = split_target(request.raw_path)
        check_host(fields, authority, _host(transport, "sockname"), self._policy)
        origin = check_origin(fields, secure=request.secure, policy=self._policy)
        methods, tail = self._find(path)
        if origin is not None:
            headers |= {
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Expose-Headers": "X-Request-ID, Retry-After",
                "Vary": "Origin",
            }
            if request.method == "OPTIONS" and "Access-Control-Request-Method" in fields:
                return _preflight(fields.get("Access-Control-Request-Headers", ""), methods)
        key = self._keys.identify(fields, _host(transport, "peername"))
        visit = Visit(headers["X-Request-ID"], key, key is not None or not self._keys.ids, tail, headers)
        return await self._route(request, path, methods, visit)

    async def _route(
        self, request: web.BaseRequest, path: str, methods: Mapping[str, Route], visit: Visit
    ) -> web.StreamResponse:
        """Hand a request to its handler, or say why there is none."""
        route = methods.get("GET" if request.method == "HEAD" else request.method)
        if not (visit.trusted or (route and route.public)):
            raise unauthorized()
        if route:
            return await route.handler(request, visit)
        if not methods:
            raise NotFoundError(
                f"There is nothing at {path[:100]!r}.", remedy="The models are under /v1, see GET /v1/models."
            )
        if request.method == "OPTIONS":
            return empty_answer({"Allow": _allow(methods)})
        answer = self._refuse(
            request,
            MethodNotAllowedError(
                f"{path[:100]!r} does not take {request.method}.", remedy=f"Use {_allow(methods)}."
            ),
        )
        answer.headers["Allow"] = _allow(methods)
        return answer

    def _find(self, path: str) -> tuple[dict[str, Route], str]:
        """Return the routes of a raw path by method, and its tail."""
        exact = {route.method: route for route in self.routes if route.path == path and path[-1] != "/"}
        if exact:
            return exact, ""
        for route in self.routes:
            if route.path.endswith("/") and path.startswith(route.path) and path != route.path:
                return {route.method: route}, path.removeprefix(route.path)
        return {}, ""

    def _refuse(self, request: web.BaseRequest, error: RequestError) -> web.Response:
        """Return the answer that tells of `error`.

        An unread body ends the connection, and so does a malformed request: its sender and
        relayd may disagree about where the next one begins.
        """
        if request.writer.output_size > 0:
            raise ConnectionAbortedError("the answer has begun: only closing tells the client now") from error
        answer = error_answer(error)
        if error.http_status == 400 or not request.content.is_eof():
            answer.force_close()
        return answer


def _allow(methods: Mapping[str, Route]) -> str:
    """Return the value of an Allow header."""
    return ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])


def _preflight(asked: str, methods: Mapping[str, Route]) -> web.Response:
    """Tell a listed page's browser what it may send."""
    return empty_answer(
        {
            "Access-Control-Allow-Methods": _allow(methods),
            "Access-Control-Allow-Headers": asked
            if _HEADER_NAMES.fullmatch(asked)
            else "Authorization, Content-Type",
            "Access-Control-Max-Age": "600",
        }
    )


def _host(transport: asyncio.Transport, end: str) -> str:
    """Return the address of one end of a connection.

    Raises:
        ConnectionResetError: The client left before anybody asked.
    """
    address = transport.get_extra_info(end)
    if address is None:
        raise ConnectionResetError("the client left before its request was looked at")
    return str(address[0])

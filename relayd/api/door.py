"""Which handler answers a request, once its host, origin and key are accepted (routing, access)?

The route is found before anything can fail, so that every refusal is in the dialect of its path.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from enum import Enum

from aiohttp import web

from relayd.api.answer import empty_answer, name_request
from relayd.api.connection import lasting
from relayd.api.errors import DIALECT, error_answer
from relayd.api.guard import Policy, check_framing, check_host, check_origin, split_target
from relayd.api.keys import Keyring, unauthorized
from relayd.errors import AdminKeyError, MethodNotAllowedError, NotFoundError, RequestError
from relayd.router import Dialect

_HEADER_NAMES = re.compile(r"[A-Za-z0-9_, -]{1,1024}")

_HEAD_OF = {"HEAD": "GET"}


class Access(Enum):
    """Who may use a route; a wrong key is refused on each of them."""

    PUBLIC = "public"
    """Every client."""
    CLIENT = "client"
    """Clients with a key; every client while no key is configured."""
    ADMIN = "admin"
    """Clients with an administrator's key; none while no such key exists."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What is known of a request once it was let in.

    Attributes:
        request_id: Its id.
        key: The name of its key; None if none came along.
        trusted: Whether it may see more than the public: it has a key, or none is needed.
        tail: The rest of its raw path, on a route that ends with a slash.
        headers: Fields that its response must carry, also one that is streamed.
    """

    request_id: str
    key: str | None
    trusted: bool
    tail: str
    headers: MutableMapping[str, str]


Handler = Callable[[web.BaseRequest, RequestContext], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One thing a client can ask for.

    Attributes:
        method: GET (which answers HEAD too), POST, DELETE ….
        path: Exactly as clients write it; one that ends with a slash takes any tail.
        handler: Who answers.
        access: Who may ask.
        dialect: How its errors are written; None for the door's own.
        lasting: Its answer has no end of its own, like an event stream, so a drain ends it at once.
    """

    method: str
    path: str
    handler: Handler
    access: Access = Access.CLIENT
    dialect: Dialect | None = None
    lasting: bool = False


OnRefused = Callable[[str, str, RequestError], None]

Routes = Mapping[str, Route]
"""The routes of one path, by method."""


class Door:
    """Checks every request, finds its handler, and writes what is refused.

    Paths are compared as they came, undecoded: nothing that needs normalising is ever found.

    Args:
        routes: Everything that can be asked for; several methods may share a path.
        policy: Which hosts and origins are let in.
        keys: Which keys are.
        dialect: How errors are written where no route sets it.
        on_refused: Called with the id, the path and the error of each request that reaches no handler.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        policy: Policy,
        keys: Keyring,
        dialect: Dialect,
        on_refused: OnRefused = lambda *_: None,
    ) -> None:
        self._policy = policy
        self._keys = keys
        self._dialect = dialect
        self._on_refused = on_refused
        self._exact: dict[str, dict[str, Route]] = {}
        prefixes: dict[str, dict[str, Route]] = {}
        for route in routes:
            table = prefixes if route.path.endswith("/") and route.path != "/" else self._exact
            table.setdefault(route.path, {})[route.method] = route
        self._prefixes = sorted(prefixes.items(), key=lambda one: -len(one[0]))

    def __repr__(self) -> str:
        return f"<Door paths={len(self._exact) + len(self._prefixes)} keys={len(self._keys.ids)}>"

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; what is not a RequestError is a fault, which the connection reports."""
        headers = {"X-Request-ID": name_request(request)}
        try:
            authority, path = split_target(request.raw_path)
            routes, tail = self._find(path)
            request[DIALECT] = _dialect_of(request.method, routes) or self._dialect
            self._check_head(request, authority)
            answer = await self._admit(request, path, routes, tail, headers)
        except RequestError as error:
            self._on_refused(headers["X-Request-ID"], request.raw_path.partition("?")[0], error)
            answer = self._refuse(request, error)
        if not answer.prepared:
            answer.headers.update(headers)
        return answer

    def _check_head(self, request: web.BaseRequest, authority: str | None) -> None:
        """Refuse a head that is badly framed or meant for another machine."""
        fields = request.headers
        check_framing(request.version, fields, sum(len(n) + len(v) + 4 for n, v in request.raw_headers))
        check_host(fields, authority, _host(request, "sockname"), self._policy)

    async def _admit(
        self, request: web.BaseRequest, path: str, routes: Routes, tail: str, headers: dict[str, str]
    ) -> web.StreamResponse:
        """Check origin and key; `headers` collects what the response must carry, refused or not."""
        fields = request.headers
        origin = check_origin(fields, secure=request.secure, policy=self._policy)
        if origin is not None:
            headers |= {
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Expose-Headers": "X-Request-ID, Retry-After",
                "Vary": "Origin",
            }
            if request.method == "OPTIONS" and "Access-Control-Request-Method" in fields:
                return _preflight(fields.get("Access-Control-Request-Headers", ""), routes)
        key = self._keys.identify(fields, _host(request, "peername"))
        trusted = key is not None or not self._keys.ids
        context = RequestContext(headers["X-Request-ID"], key, trusted, tail, headers)
        return await self._route(request, path, routes, context)

    async def _route(
        self, request: web.BaseRequest, path: str, routes: Routes, context: RequestContext
    ) -> web.StreamResponse:
        """Hand a request to its handler, or say why there is none."""
        route = routes.get(_HEAD_OF.get(request.method, request.method))
        self._check_access(route.access if route else Access.CLIENT, context)
        if route:
            try:
                if not route.lasting:
                    return await route.handler(request, context)
                with lasting(request):
                    return await route.handler(request, context)
            except RequestError as error:
                return self._refuse(request, error)
        if not routes:
            raise NotFoundError(
                f"There is nothing at {path[:100]!r}.", remedy="The models are under /v1, see GET /v1/models."
            )
        if request.method == "OPTIONS":
            return empty_answer({"Allow": _allow(routes)})
        wrong_method = MethodNotAllowedError(
            f"{path[:100]!r} does not take {request.method}.", remedy=f"Use {_allow(routes)}."
        )
        self._on_refused(context.request_id, path, wrong_method)
        answer = self._refuse(request, wrong_method)
        answer.headers["Allow"] = _allow(routes)
        return answer

    def _check_access(self, access: Access, context: RequestContext) -> None:
        if access is Access.PUBLIC:
            return
        if not context.trusted:
            raise unauthorized()
        if access is Access.ADMIN and context.key not in self._keys.admins:
            raise AdminKeyError(
                "This needs an administrator's key.", remedy="Use the control socket instead."
            )

    def _find(self, path: str) -> tuple[Routes, str]:
        """Return the routes of a raw path by method, and its tail; the longest prefix wins."""
        if routes := self._exact.get(path):
            return routes, ""
        for prefix, routes in self._prefixes:
            if path.startswith(prefix) and path != prefix:
                return routes, path.removeprefix(prefix)
        return {}, ""

    def _refuse(self, request: web.BaseRequest, error: RequestError) -> web.Response:
        """Return the response to a request that failed with `error`.

        An unread body ends the connection, and so does a malformed request: its sender and
        relayd may disagree about where the next one begins.
        """
        if request.writer.output_size > 0:
            raise ConnectionAbortedError("the answer has begun: only a close can end it now") from error
        answer = error_answer(error, request.get(DIALECT, self._dialect))
        if error.http_status == 400 or not request.content.is_eof():
            answer.force_close()
        return answer


def _dialect_of(method: str, routes: Routes) -> Dialect | None:
    """Return the dialect of a path: that of the method asked for, or of any other."""
    route = routes.get(_HEAD_OF.get(method, method)) or next(iter(routes.values()), None)
    return route.dialect if route else None


def _allow(routes: Routes) -> str:
    """Return the value of an Allow header."""
    return ", ".join([*routes, *(["HEAD"] if "GET" in routes else []), "OPTIONS"])


def _preflight(asked: str, routes: Routes) -> web.Response:
    """Answer a listed page's browser with what it may send."""
    return empty_answer(
        {
            "Access-Control-Allow-Methods": _allow(routes),
            "Access-Control-Allow-Headers": asked
            if _HEADER_NAMES.fullmatch(asked)
            else "Authorization, Content-Type",
            "Access-Control-Max-Age": "600",
        }
    )


def _host(request: web.BaseRequest, end: str) -> str:
    """Return the address of one end of a request's connection.

    Raises:
        ConnectionResetError: The client left before it was asked for.
    """
    transport = request.transport
    address = transport.get_extra_info(end) if transport else None
    if address is None:
        raise ConnectionResetError("the client left before its request was looked at")
    return str(address[0])

"""Which handler answers a request, once its host, origin and key are accepted (routing, access)?

The route is found before anything can fail, so that every refusal is in the dialect of its path.
"""

import re
from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from relayd.api.admission import Access, Admitted, RequestContext, Route
from relayd.api.answer import Answer, empty_answer, offered_id
from relayd.api.errors import error_answer
from relayd.api.forwarded import Proxies
from relayd.api.grants import ANYONE, KeyGrant
from relayd.api.guard import Policy, check_framing, check_host, check_origin, is_visit, split_target
from relayd.api.head import Presented, RequestHead
from relayd.api.keys import Keyring
from relayd.api.known import KnownHead, KnownHeads
from relayd.api.manner import asked_class, named_session
from relayd.api.sessions import Sessions
from relayd.errors import MethodNotAllowedError, NotFoundError, RequestError
from relayd.router import Dialect

_HEADER_NAMES = re.compile(r"[A-Za-z0-9_, -]{1,1024}")

_HEAD_OF = {"HEAD": "GET"}


OnRefused = Callable[[str, str, RequestError], None]

Routes = Mapping[str, Route]
"""The routes of one path, by method."""


_EXPOSED = (
    "X-Request-ID, Retry-After, X-Relayd-Changed, X-Relayd-Replica, X-Relayd-Queue-Ms, "
    "X-Relayd-Queue-Position, X-Relayd-Queue-Seconds, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, "
    "anthropic-ratelimit-requests-limit, anthropic-ratelimit-requests-remaining, "
    "anthropic-ratelimit-requests-reset, anthropic-ratelimit-tokens-limit, "
    "anthropic-ratelimit-tokens-remaining, anthropic-ratelimit-tokens-reset"
)
"""What a page of an allowed origin may read of an answer's head."""


class Door:
    """Checks every request, finds its handler, and writes what is refused.

    Paths are compared as they came, undecoded: nothing that needs normalising is ever found.

    Args:
        routes: Everything that can be asked for; several methods may share a path.
        policy: Which hosts and origins are let in.
        keys: Which keys are.
        dialect: How errors are written where no route sets it.
        on_refused: Called with the id, the path and the error of each request that reaches no handler.
        sessions: Who is logged in to the dashboard; counts for administration only.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        policy: Policy,
        keys: Keyring,
        dialect: Dialect,
        on_refused: OnRefused = lambda *_: None,
        sessions: Sessions | None = None,
    ) -> None:
        self._policy = policy
        self._keys = keys
        self._dialect = dialect
        self._on_refused = on_refused
        self._sessions = sessions
        self._exact: dict[str, dict[str, Route]] = {}
        prefixes: dict[str, dict[str, Route]] = {}
        for route in routes:
            table = prefixes if route.path.endswith("/") and route.path != "/" else self._exact
            table.setdefault(route.path, {})[route.method] = route
            if route.is_page:
                self._exact.setdefault(route.path, {})[route.method] = route
        self._direct = frozenset(
            (method, path)
            for path, methods in self._exact.items()
            for method, route in methods.items()
            if route.direct
        )
        self._known = KnownHeads()
        self._prefixes = sorted(prefixes.items(), key=lambda one: -len(one[0]))

    def __repr__(self) -> str:
        return f"<Door paths={len(self._exact) + len(self._prefixes)} {self._keys!r}>"

    @property
    def proxies(self) -> Proxies:
        """Reverse proxies whose word on their clients counts."""
        return self._policy.proxies

    def is_direct(self, method: str, target: str) -> bool:
        """Return whether a request is answered without aiohttp once it is let in."""
        return (method, target.partition("?")[0]) in self._direct

    def recall(self, arrived_at: str, bare: bytes) -> KnownHead | None:
        """Return what is known of a head that was let in before, given without the length of its body."""
        known = self._known.find((arrived_at, bare))
        if known is None or known.keys is self._keys.known:
            return known
        if not self._keys.still_holds(known.digest, known.admitted.context.grant):
            return None
        known = replace(known, keys=self._keys.known)
        self._known.add(arrived_at, bare, known)
        return known

    def remember(self, arrived_at: str, bare: bytes, head: RequestHead, admitted: Admitted) -> KnownHead:
        """Return what is known of a head that was let in, and keep it, so that `recall` returns it.

        What a proxy reports holds for its peer only.
        """
        context, keys = admitted.context, self._keys
        others = tuple((name, value) for name, value in context.headers.items() if name != "X-Request-ID")
        is_plain = head.is_json and context.timeout is None and context.grant.allowance is None
        straight = admitted.route.straight if is_plain else None
        digest = keys.digest(head.headers)
        known = KnownHead(head, admitted, context.named, digest, keys.known, others, straight)
        if not (self._policy.proxies and "X-Forwarded-Proto" in head.headers):
            kept = Admitted(admitted.route, known.again(), admitted.dialect)
            self._known.add(arrived_at, bare, replace(known, admitted=kept))
        return known

    def admit(self, asked: Presented, request_id: str) -> Admitted | Answer:
        """Return who answers a request, or what the door itself answers."""
        headers = {"X-Request-ID": request_id}
        dialect = self._dialect
        try:
            authority, path = split_target(asked.target)
            routes, tail = self._find(path)
            dialect = _dialect_of(asked.method, routes) or dialect
            check_framing(asked.version, asked.headers, asked.field_bytes)
            check_host(asked.headers, authority, asked.arrived_at, self._policy)
            if preflight := self._check_origin(asked, routes, headers):
                return preflight.carrying(headers)
            route = routes.get(_HEAD_OF.get(asked.method, asked.method))
            access = route.access_to(tail) if route else Access.CLIENT
            client = self._policy.proxies.client(asked.headers, asked.peer)
            grant = self._identify(asked, client, access)
            if route or grant is ANYONE:  # that nothing is at a path every key may know
                self._keys.check(grant, access)
            context = self._context(asked, request_id, grant, tail, headers)
            return self._answering(asked.method, path, routes, context, dialect)
        except RequestError as error:
            self._on_refused(request_id, asked.target.partition("?")[0], error)
            return error_answer(error, dialect).carrying(headers)

    def _identify(self, asked: Presented, client: str, access: Access) -> KeyGrant:
        """Return what a request may do: by its key, or for administration by its session."""
        grant = self._keys.identify(asked.headers, client, access)
        if grant is ANYONE and access is Access.ADMIN and self._sessions is not None:
            return self._sessions.grant(asked.headers, client) or grant
        return grant

    def _check_origin(self, asked: Presented, routes: Routes, headers: dict[str, str]) -> Answer | None:
        """Refuse a page that may not ask; `headers` collects what any answer to it must carry."""
        route = routes.get(asked.method)
        if route is not None and route.is_page and is_visit(asked.headers):
            return None
        secure = self._policy.proxies.is_secure(asked.headers, asked.peer, secure=asked.secure)
        origin = check_origin(asked.headers, secure=secure, policy=self._policy)
        if origin is None:
            return None
        headers |= {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": _EXPOSED,
            "Vary": "Origin",
        }
        if asked.method == "OPTIONS" and "Access-Control-Request-Method" in asked.headers:
            return _preflight(asked.headers.get("Access-Control-Request-Headers", ""), routes)
        return None

    def _context(
        self, asked: Presented, request_id: str, grant: KeyGrant, tail: str, headers: dict[str, str]
    ) -> RequestContext:
        klass = asked_class(asked.headers, own=grant.own_class, best=grant.best_class)
        named = offered_id(asked.headers) is not None
        trusted = grant is not ANYONE or self._keys.known.is_open
        session = named_session(asked.headers)
        find = asked.headers.get
        return RequestContext(
            request_id, grant, trusted, tail, headers, named, klass, session,
            find("X-Request-Timeout"), find("X-Relayd-Progress"), find("X-Relayd-Continue") != "off",
        )  # fmt: skip

    def _answering(
        self, method: str, path: str, routes: Routes, context: RequestContext, dialect: Dialect
    ) -> Admitted | Answer:
        """Return who answers, or why none does."""
        route = routes.get(_HEAD_OF.get(method, method))
        if route:
            return Admitted(route, context, dialect)
        if not routes:
            raise NotFoundError(
                f"There is nothing at {path[:100]!r}.", remedy="The models are under /v1, see GET /v1/models."
            )
        if method == "OPTIONS":
            return empty_answer({"Allow": _allow(routes)}).carrying(context.headers)
        wrong_method = MethodNotAllowedError(
            f"{path[:100]!r} does not take {method}.", remedy=f"Use {_allow(routes)}."
        )
        self._on_refused(context.request_id, path, wrong_method)
        return error_answer(wrong_method, dialect).carrying({"Allow": _allow(routes), **context.headers})

    def _find(self, path: str) -> tuple[Routes, str]:
        """Return the routes of a raw path by method, and its tail; the longest prefix wins."""
        if routes := self._exact.get(path):
            return routes, ""
        for prefix, routes in self._prefixes:
            if path.startswith(prefix) and path != prefix:
                return routes, path.removeprefix(prefix)
        return {}, ""


def _dialect_of(method: str, routes: Routes) -> Dialect | None:
    """Return the dialect of a path: that of the method asked for, or of any other."""
    route = routes.get(_HEAD_OF.get(method, method)) or next(iter(routes.values()), None)
    return route.dialect if route else None


def _allow(routes: Routes) -> str:
    """Return the value of an Allow header."""
    return ", ".join([*routes, *(["HEAD"] if "GET" in routes else []), "OPTIONS"])


def _preflight(asked: str, routes: Routes) -> Answer:
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

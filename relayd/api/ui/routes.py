"""How is the dashboard reached: its files, logging in with a key or a link, logging out?"""

from collections.abc import Callable

import msgspec
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from relayd import __version__
from relayd.api.admission import Access, RequestContext, Route
from relayd.api.answer import Answer, empty_answer
from relayd.api.guard import check_body_head
from relayd.api.keys import Keyring
from relayd.api.served import peer_of
from relayd.api.sessions import SESSION_SECONDS, Session, Sessions, cookie_name, is_loopback
from relayd.api.ui.links import Links
from relayd.api.ui.pages import Pages
from relayd.errors import AdminKeyError, RequestError
from relayd.journal import Journal
from relayd.rights import LOCAL
from relayd.secret import Secret
from relayd.units import KIB, Bytes

_MOST_BYTES = Bytes(4 * KIB)

_MOVED = {"/ui": "/ui/", "/dashboard": "/ui/", "/setup": "/ui/setup", "/integrate": "/ui/connect"}
"""Paths that lead to a page: short ones, and those of RelayServe's users."""


class LoginRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Of logging in: a key for administration, or the secret part of a one-use link."""

    key: str = ""
    link: str = ""

    def __repr__(self) -> str:
        return "LoginRequest(***)"


class LoginReport(msgspec.Struct, frozen=True):
    """A session, for its page.

    Attributes:
        csrf: What the page sends with each request, in `X-Relayd-CSRF`.
        name: Of the key; `local` for a session that a link has opened.
        until: When it ends, in seconds since 1970.
        inference_key: What the page may ask models with; empty where none is needed.
    """

    csrf: str
    name: str
    until: int
    inference_key: str = ""
    version: str = __version__

    def __repr__(self) -> str:
        return f"LoginReport(name={self.name!r}, until={self.until})"


class Entrance:
    """Logs people in and out.

    Args:
        keys: The keys that are valid.
        sessions: Who is logged in.
        links: One-use links.
        lend: Returns a key for models, for a page; empty where none is needed.

    Attributes:
        sessions: Who is logged in.
        links: One-use links.
        client_of: Returns the address of a request's client; the doors know it.
        pages: The files.
    """

    def __init__(
        self,
        keys: Keyring,
        sessions: Sessions,
        links: Links,
        lend: Callable[[], Secret],
    ) -> None:
        self._keys = keys
        self.sessions = sessions
        self.links = links
        self._lend = lend
        self.client_of: Callable[[web.BaseRequest], str] = peer_of
        self.pages = Pages()
        self._journal = Journal("admin")

    def __repr__(self) -> str:
        return f"<Entrance {self.sessions!r} {self.links!r}>"

    async def log_in(self, request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        """Open a session by a key, or by a link that was not used yet.

        Raises:
            RequestError: Neither holds.
        """
        check_body_head(request.headers, _MOST_BYTES)
        try:
            asked = msgspec.json.decode(await request.content.read(_MOST_BYTES), type=LoginRequest)
        except msgspec.DecodeError as error:
            raise RequestError("The body is not a login.", remedy='Send {"key": "…"}.') from error
        client = self.client_of(request)
        holder, name = self._by_link(asked.link, client) if asked.link else self._by_key(asked.key, client)
        session = self.sessions.begin(holder)
        if session is None:
            raise AdminKeyError("No session can be opened now.", remedy="`relayd logs relayd` shows why.")
        self._journal.info("ui.login", key=name, client=client)
        return self._answer(request, context, session, name)

    async def current(self, request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        """Answer with the session that the request has."""
        return Answer(200, msgspec.json.encode(self._report(
            self.sessions.csrf_of(request.headers), context.grant.name, 0
        ))).carrying(context.headers).response()  # fmt: skip

    async def log_out(self, request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        """Have the browser forget the session."""
        cookie = f"{cookie_name(request.headers)}=; {_attributes(request, 0)}"
        return empty_answer({"Set-Cookie": cookie, **context.headers}).response()

    def _by_key(self, key: str, client: str) -> tuple[str, str]:
        """Return the holder of a key and its name.

        Raises:
            RequestError: The key is wrong, or not for administration.
        """
        presented = CIMultiDictProxy(CIMultiDict({"Authorization": f"Bearer {key}"} if key else {}))
        grant = self._keys.identify(presented, client, Access.ADMIN)
        self._keys.check(grant, Access.ADMIN)
        return grant.id, grant.name

    def _by_link(self, token: str, client: str) -> tuple[str, str]:
        """Return the holder of a link and its name.

        Raises:
            AdminKeyError: It was used, is too old, or is used on another machine.
        """
        if not is_loopback(client):
            raise AdminKeyError(
                "A one-use link opens the dashboard on the machine of relayd only.",
                remedy="Log in with a key for administration: `relayd keys create NAME --scope admin`.",
            )
        if not self.links.use(token):
            raise AdminKeyError(
                "This link was used already, or is older than 5 minutes.", remedy="Make another: `relayd ui`."
            )
        return LOCAL, LOCAL

    def _answer(
        self, request: web.BaseRequest, context: RequestContext, session: Session, name: str
    ) -> web.StreamResponse:
        cookie = f"{cookie_name(request.headers)}={session.cookie}; {_attributes(request, SESSION_SECONDS)}"
        report = self._report(session.csrf, name, session.until)
        answer = Answer(200, msgspec.json.encode(report))
        return answer.carrying({"Set-Cookie": cookie, **context.headers}).response()

    def _report(self, csrf: str, name: str, until: int) -> LoginReport:
        return LoginReport(csrf, name, until, self._lend().reveal())


def _attributes(request: web.BaseRequest, seconds: int) -> str:
    secure = "; Secure" if request.secure else ""
    return f"Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"


def ui_routes(entrance: Entrance) -> tuple[Route, ...]:
    """Return the routes of the dashboard; its files are public, what they show is not."""

    async def file(request: web.BaseRequest, context: RequestContext) -> web.StreamResponse:
        return await entrance.pages.answer(request.headers, context.tail)

    async def moved(request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        return web.Response(status=308, headers={"Server": "relayd", "Location": _MOVED[path]})

    return (
        *(Route("GET", path, moved, Access.PUBLIC, is_page=True) for path in _MOVED),
        Route("GET", "/ui/", file, Access.PUBLIC, is_page=True),
        Route("POST", "/ui/session", entrance.log_in, Access.PUBLIC),
        Route("GET", "/ui/session", entrance.current, Access.ADMIN),
        Route("DELETE", "/ui/session", entrance.log_out, Access.PUBLIC),
    )

"""Who is logged in to the dashboard (signed cookies), and is a request really its page's (CSRF token)?

    VERSION.HOLDER.UNTIL.NONCE.SIGNATURE      until: seconds since 1970; signature: HMAC-SHA-256 in hex

Nothing is stored but the key of the signatures, so that sessions outlive the daemon. A session is bound to
the secret of the key that it was opened with: it ends as that key is rotated, revoked or expires.

A cookie belongs to a host, not to a port: the browser shows it to every server of this machine. Hence it is
worth nothing without the token, which only the page keeps, and opens no route but those for administration.
"""

import hmac
import secrets
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address

import msgspec

from relayd.api.grants import KeyGrant
from relayd.api.guard import Headers, canonical_host
from relayd.clock import Clock
from relayd.rights import LOCAL

SESSION_SECONDS = 7 * 86400
"""How long a session lasts."""

CSRF = "X-Relayd-CSRF"
"""The header field of the token."""

_VERSION = "1"
_LONGEST = 512


class SessionHolder(msgspec.Struct, frozen=True):
    """Whose a session is.

    Attributes:
        grant: What it may do now.
        digest: Of the secret that the session is bound to.
    """

    grant: KeyGrant
    digest: bytes


class Session(msgspec.Struct, frozen=True):
    """A session that was opened.

    Attributes:
        cookie: The value of its cookie.
        csrf: What its page sends beside it.
        until: When it ends, in seconds since 1970.
    """

    cookie: str
    csrf: str
    until: int


class Sessions:
    """Opens sessions, and knows them again.

    Args:
        find: Returns the holder of an id: that of a key, or `local`; None where it is not valid any more.
        clock: Time.

    Attributes:
        secret: What signs them; without it there are none.
    """

    def __init__(self, find: Callable[[str], SessionHolder | None], clock: Clock) -> None:
        self._find = find
        self._clock = clock
        self.secret = b""

    def __repr__(self) -> str:
        return f"<Sessions {'open' if self.secret else 'closed'}>"

    def begin(self, holder: str) -> Session | None:
        """Return a new session of a holder; None where it is not valid, or nothing can be signed."""
        found = self._find(holder)
        if found is None or not self.secret:
            return None
        until = int(self._clock.wall()) + SESSION_SECONDS
        content = f"{_VERSION}.{holder}.{until}.{secrets.token_hex(8)}"
        cookie = f"{content}.{self._sign(content, found.digest)}"
        return Session(cookie, self._csrf(cookie), until)

    def grant(self, headers: Headers, client: str) -> KeyGrant | None:
        """Return what the session of a request grants; None where it has none that holds.

        Args:
            headers: The head.
            client: The client's address: a session without a key is for this machine only.
        """
        cookie = cookie_of(headers)
        if not cookie or not self.secret:
            return None
        content, _, signature = cookie.rpartition(".")
        version, holder, until, *_ = [*content.split("."), "", "", ""]
        if version != _VERSION or not until.isdigit() or int(until) <= self._clock.wall():
            return None
        found = self._find(holder)
        if found is None or (holder == LOCAL and not is_loopback(client)):
            return None
        sent = headers.get(CSRF, "")
        is_signed = hmac.compare_digest(signature.encode(), self._sign(content, found.digest).encode())
        is_page = hmac.compare_digest(
            sent.encode(errors="surrogateescape"), self._csrf(cookie).encode(errors="surrogateescape")
        )
        return found.grant if is_signed and is_page else None

    def csrf_of(self, headers: Headers) -> str:
        """Return the token of the session that a request has shown to hold."""
        return self._csrf(cookie_of(headers))

    def _sign(self, content: str, digest: bytes) -> str:
        return hmac.digest(self.secret, content.encode(errors="surrogateescape") + digest, "sha256").hex()

    def _csrf(self, cookie: str) -> str:
        return hmac.digest(self.secret, b"csrf " + cookie.encode(errors="surrogateescape"), "sha256").hex()


def cookie_name(headers: Headers) -> str:
    """Return the name of the cookie: that of the port, as all servers of a machine share their cookies."""
    host = headers.get("Host", "")
    port = host.rpartition(":")[2]
    return f"relayd_{port if port.isdigit() and canonical_host(host) else 'session'}"


def cookie_of(headers: Headers) -> str:
    """Return the value of the cookie; empty where there is none, or more than one."""
    fields = headers.getall("Cookie", ())
    if len(fields) != 1 or len(fields[0]) > 8 * _LONGEST:
        return ""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(fields[0])
    except CookieError:
        return ""
    found = jar.get(cookie_name(headers))
    return found.value if found is not None and len(found.value) <= _LONGEST else ""


def is_loopback(client: str) -> bool:
    """Return whether a client is on this machine."""
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback

"""Whose key does a request carry, and is that enough for what it asks for?"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from relayd.api.admission import Access
from relayd.api.grants import ANYONE, KeyGrant
from relayd.api.guard import Headers
from relayd.clock import Clock
from relayd.errors import (
    AdminKeyError,
    KeyScopeError,
    RequestError,
    TooManyFailedKeysError,
    UnauthorizedError,
)


class FailedKeys:
    """Counts wrong keys of a peer in windows of fixed length; the oldest peers are forgotten first.

    Args:
        clock: Times the windows.
        limit: Wrong keys a window may hold.
        window_seconds: Length of a window.
        peers: How many peers are remembered.
    """

    def __init__(
        self, clock: Clock, *, limit: int = 20, window_seconds: float = 60, peers: int = 4096
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._window_seconds = window_seconds
        self._peers = peers
        self._windows: dict[str, tuple[float, int]] = {}

    def count(self, peer: str) -> float | None:
        """Count a wrong key of `peer`; return the seconds left of its window when it sent too many."""
        now = self._clock.monotonic()
        start, failures = self._windows.pop(peer, (now, 0))
        if now - start >= self._window_seconds:
            start, failures = now, 0
        if len(self._windows) >= self._peers:
            del self._windows[next(iter(self._windows))]
        self._windows[peer] = (start, failures + 1)
        return start + self._window_seconds - now if failures >= self._limit else None


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """The keys that are valid now.

    Attributes:
        grants: SHA-256 of a key to what it may do; its owner removes expired ones.
        is_open: Clients without a key may use models.
        is_unused: There is no key but the one that commands use: figures need none.
        has_admin: There is a key for administration, besides that one.
    """

    grants: Mapping[bytes, KeyGrant] = field(default_factory=dict)
    is_open: bool = True
    is_unused: bool = True
    has_admin: bool = False


class Keyring:
    """The keys that open the doors: one object for all doors of a daemon, so that a change holds at once.

    Args:
        failed: Who sent wrong ones.
        known: The keys that are valid now.

    Attributes:
        known: The keys that are valid now; replaced as a whole.
    """

    __slots__ = ("_failed", "known")

    def __init__(self, failed: FailedKeys, known: KnownKeys | None = None) -> None:
        self._failed = failed
        self.known = known or KnownKeys()

    def __repr__(self) -> str:
        return f"<Keyring {len(self.known.grants)} keys, {'open' if self.known.is_open else 'closed'}>"

    def identify(self, headers: Headers, peer: str, access: Access = Access.CLIENT) -> KeyGrant:
        """Return what the sender of a request may do.

        A right key passes whatever its peer sent before: clients share an address, and none may lock out
        another. Where no key is needed a wrong one counts as none: clients send what they have to.

        Args:
            headers: The head.
            peer: The client's address.
            access: Who may use what is asked for.

        Raises:
            UnauthorizedError: The key is wrong.
            RequestError: Two different keys were sent, or (429) too many wrong ones before this one.
        """
        digest = self.digest(headers)
        if digest is None:
            return ANYONE
        grant = self.known.grants.get(digest)
        if grant is None:
            if not (self.known.is_open and access in (Access.CLIENT, Access.PUBLIC)):
                self._refuse(peer)
            return ANYONE
        return grant

    def digest(self, headers: Headers) -> bytes | None:
        """Return the SHA-256 of the key that was sent, or None when none was or there are no keys.

        Raises:
            RequestError: Two different keys were sent.
        """
        key = presented_key(headers) if self.known.grants else None
        return None if key is None else hashlib.sha256(key.encode(errors="surrogateescape")).digest()

    def still_holds(self, digest: bytes | None, grant: KeyGrant) -> bool:
        """Return whether a head with this key would be granted the same now."""
        known = self.known
        if digest is None:
            return known.is_open
        return known.grants.get(digest, ANYONE if known.is_open else None) is grant

    def check(self, grant: KeyGrant, access: Access) -> None:
        """Refuse what a sender may not use.

        Raises:
            UnauthorizedError: It needs a key.
            AdminKeyError: It needs a key for administration, and there is none or this is none.
            KeyScopeError: The key is for something else.
        """
        scope = _SCOPES.get(access)
        if scope is None or (grant is not ANYONE and scope in grant.rights.scopes):
            return
        known = self.known
        if (access is Access.CLIENT and known.is_open) or (access is Access.METRICS and known.is_unused):
            return
        if access is Access.ADMIN and (grant is not ANYONE or not known.has_admin):
            raise AdminKeyError(
                "This needs a key for administration.",
                remedy="Make one on the server: `relayd keys create NAME --scope admin`.",
            )
        if grant is ANYONE:
            raise unauthorized()
        if access is Access.NODE:
            raise KeyScopeError(
                "This key is not the token of a node.",
                remedy="Invite the node, on the hub: `relayd nodes invite NAME`.",
            )
        raise KeyScopeError(
            f"This key is not for {scope}.",
            remedy=f"Make one that is, on the server: `relayd keys create NAME --scope {scope}`.",
        )

    def _refuse(self, peer: str) -> None:
        seconds = self._failed.count(peer)
        if seconds is None:
            raise unauthorized()
        raise TooManyFailedKeysError(
            "Too many wrong keys came from this address.",
            remedy="Wait, and check the key.",
            retry_after_seconds=seconds,
        )


_SCOPES = {Access.CLIENT: "inference", Access.METRICS: "metrics", Access.ADMIN: "admin", Access.NODE: "node"}
"""The scope that a key needs; what is public needs none."""


def presented_key(headers: Headers) -> str | None:
    """Return the one key of a head: a Bearer token or `x-api-key`, never from query or cookie.

    Raises:
        RequestError: Different keys were sent.
    """
    keys = set(headers.getall("x-api-key", []))
    for credentials in headers.getall("Authorization", []):
        scheme, _, token = credentials.partition(" ")
        if scheme.lower() == "bearer":
            keys.add(token.strip())
    keys.discard("")
    if len(keys) > 1:
        raise RequestError(
            "The request carries different keys.", remedy="Send one: Authorization: Bearer, or x-api-key."
        )
    return keys.pop() if keys else None


def unauthorized() -> UnauthorizedError:
    """Return the one answer to a key that is missing or wrong."""
    return UnauthorizedError("A valid API key is required.", remedy="Send it as Authorization: Bearer KEY.")

"""Whose key does a request carry?"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from relayd.api.guard import Headers
from relayd.clock import Clock
from relayd.errors import RequestError, TooManyFailedKeysError, UnauthorizedError


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
class Keyring:
    """The keys that open the doors.

    Attributes:
        ids: SHA-256 of a key to its name; its owner removes expired ones. Empty: no key is needed.
        failed: Who sent wrong ones.
        admins: Names of the keys that may administer.
    """

    ids: Mapping[bytes, str]
    failed: FailedKeys
    admins: frozenset[str] = frozenset()

    def identify(self, headers: Headers, peer: str) -> str | None:
        """Return the name of the key that came along, or None when none did or none is needed.

        A right key passes whatever its peer sent before: clients share an address, and none
        may lock out another.

        Raises:
            UnauthorizedError: The key is wrong.
            RequestError: Two different keys came along, or (429) too many wrong ones before this one.
        """
        digest = self.digest(headers)
        if digest is None:
            return None
        name = self.ids.get(digest)
        if name is None:
            self._refuse(peer)
        return name

    def digest(self, headers: Headers) -> bytes | None:
        """Return the SHA-256 of the key that came along, or None when none did or none is needed.

        Raises:
            RequestError: Two different keys came along.
        """
        key = presented_key(headers) if self.ids else None
        return None if key is None else hashlib.sha256(key.encode(errors="surrogateescape")).digest()

    def _refuse(self, peer: str) -> None:
        seconds = self.failed.count(peer)
        if seconds is None:
            raise unauthorized()
        raise TooManyFailedKeysError(
            "Too many wrong keys came from this address.",
            remedy="Wait, and check the key.",
            retry_after_seconds=seconds,
        )


def presented_key(headers: Headers) -> str | None:
    """Return the one key of a head: a Bearer token or `x-api-key`, never from query or cookie.

    Raises:
        RequestError: Different keys came along.
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

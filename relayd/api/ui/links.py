"""Which links open the dashboard once, without a key (one-use links)?"""

import hashlib
import secrets

from relayd.clock import Clock

LINK_SECONDS = 300.0
"""How long a link may be used."""

_MOST = 32


class Links:
    """Makes links, and knows which of them were not used yet; they end with the daemon.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[bytes, float] = {}

    def __repr__(self) -> str:
        return f"<Links {len(self._until)} unused>"

    def make(self) -> str:
        """Return the secret part of a new link; the oldest unused one gives way to the 33rd."""
        self._forget()
        if len(self._until) >= _MOST:
            del self._until[next(iter(self._until))]
        token = secrets.token_urlsafe(24)
        self._until[_digest(token)] = self._clock.monotonic() + LINK_SECONDS
        return token

    def use(self, token: str) -> bool:
        """Return whether a link holds, which it does once."""
        self._forget()
        return self._until.pop(_digest(token), None) is not None

    def _forget(self) -> None:
        now = self._clock.monotonic()
        self._until = {digest: until for digest, until in self._until.items() if until > now}


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()

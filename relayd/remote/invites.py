"""Which invites has a hub given out that were not used yet?

Each is for one node, once, for a quarter of an hour. They are in memory only, as digests: after a restart of
the hub another one is made.
"""

import secrets

from relayd.clock import Clock
from relayd.secret import Secret

INVITE_SECONDS = 15 * 60.0
"""How long an invite is valid."""

_MOST = 256
"""Invites at a time; the oldest are forgotten first."""


class Invites:
    """The invites of a hub.

    Args:
        clock: Times them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[bytes, tuple[str, float]] = {}

    def __repr__(self) -> str:
        return f"<Invites open={len(self._open)}>"

    def make(self, node: str) -> Secret:
        """Return an invite for a node; an earlier one for it is not valid any more."""
        self._open = {digest: (name, until) for digest, (name, until) in self._open.items() if name != node}
        while len(self._open) >= _MOST:
            del self._open[next(iter(self._open))]
        invite = Secret(secrets.token_urlsafe(24))
        self._open[invite.digest()] = node, self._clock.monotonic() + INVITE_SECONDS
        return invite

    def redeem(self, invite: Secret) -> str | None:
        """Return the node that an invite is for, which is used up by that; None where it is not valid."""
        node, until = self._open.pop(invite.digest(), ("", 0.0))
        return node if node and self._clock.monotonic() < until else None

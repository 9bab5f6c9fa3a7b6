"""Which peers have failed to authenticate so often that they have to wait (cooldown)?

ModelRelay's contract: three failures, then a cooldown, which a success clears. Its server counts them by a
header that clients write, or for all clients together; here each peer is counted on its own.
"""

from collections import OrderedDict

FREE_FAILURES = 3
_FIRST_SECONDS = 0.25
_MOST_SECONDS = 30.0
_MOST_PEERS = 4096


class FailedAttempts:
    """The failures of each peer since its last success; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<FailedAttempts peers={len(self._failures)}>"

    def is_blocked(self, peer: str, now: float) -> bool:
        """Return whether a peer has to wait still (monotonic seconds)."""
        return now < self._failures.get(peer, (0, 0.0))[1]

    def failed(self, peer: str, now: float) -> None:
        """Count a failure: from the third on, the wait doubles each time, from 250 ms up to 30 s."""
        count = self._failures.pop(peer, (0, 0.0))[0] + 1
        doublings = min(count - FREE_FAILURES, 10)
        wait = min(_FIRST_SECONDS * 2.0**doublings, _MOST_SECONDS) if count >= FREE_FAILURES else 0.0
        self._failures[peer] = count, now + wait
        if len(self._failures) > _MOST_PEERS:
            self._failures.popitem(last=False)

    def succeeded(self, peer: str) -> None:
        """Forget the failures of a peer."""
        self._failures.pop(peer, None)

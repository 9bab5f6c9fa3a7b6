"""How many tokens of answers does each replica generate in a second, as answers stream (rates)?

Nothing is counted for a chunk: the bytes that a client has got are known, and how many bytes a token takes is
learned from the answers that have ended. So a rate is an estimate; the counts of ended requests are exact.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relayd.scheduler import Exchange

USUAL_BYTES = 270.0
"""Of one token in an event of /v1/chat/completions (b11434), until an answer has ended."""

_SHORTEST_SECONDS = 0.2
"""Two looks that are closer are one: several clients may look at the same time."""

_SMOOTH = 0.5
"""Weight of what is new."""


@dataclass(frozen=True, slots=True)
class Streaming:
    """An answer that streams: on which replica, of which path, and how much of it was sent."""

    ticket: int
    replica: str
    model: str
    path: str
    sent_bytes: int


class TokenRates:
    """Estimates tokens a second from one look to the next."""

    def __init__(self) -> None:
        self._sent: dict[int, int] = {}
        self._rates: dict[str, float] = {}
        self._looked_at = -1.0

    def __repr__(self) -> str:
        return f"<TokenRates of {len(self._rates)} replicas>"

    def look(self, streams: Iterable[Streaming], widths: Mapping[str, float], now: float) -> dict[str, float]:
        """Return replica → tokens a second since the last look.

        Args:
            streams: Every answer that streams now.
            widths: Path → bytes of a token.
            now: Monotonic seconds.
        """
        seconds = now - self._looked_at
        if seconds < _SHORTEST_SECONDS:
            return self._shown()
        found: dict[str, float] = {}
        sent: dict[int, int] = {}
        for one in streams:
            sent[one.ticket] = one.sent_bytes
            new = one.sent_bytes - self._sent.get(one.ticket, 0)
            tokens = new / widths.get(one.path, USUAL_BYTES)
            found[one.replica] = found.get(one.replica, 0.0) + (tokens / seconds if 0 < seconds < 5 else 0.0)
        self._rates = {
            replica: rate * _SMOOTH + self._rates.get(replica, rate) * (1 - _SMOOTH)
            for replica, rate in found.items()
        }
        self._sent, self._looked_at = sent, now
        return self._shown()

    def _shown(self) -> dict[str, float]:
        return {replica: round(rate, 1) for replica, rate in self._rates.items()}


def token_bytes(recent: Iterable[Exchange]) -> dict[str, float]:
    """Return path → bytes of a token in its streams, by the requests that have ended."""
    sums: dict[str, tuple[int, int]] = {}
    for one in recent:
        if one.ask.stream and one.usage is not None and one.usage.completion_tokens >= 8 and one.sent_bytes:
            sent, tokens = sums.get(one.path, (0, 0))
            sums[one.path] = sent + one.sent_bytes, tokens + one.usage.completion_tokens
    return {path: max(1.0, sent / tokens) for path, (sent, tokens) in sums.items()}

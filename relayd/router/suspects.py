"""Which request bodies have crashed replicas, and may not reach another one (poison)?

A body is suspected once it was in flight as a replica crashed, and refused for ten minutes once it was in
flight at two crashes and no other body at as many. Others that were there by chance are cleared by that. An
exit that was commanded, a SIGKILL from outside and an out-of-memory kill count for nothing: neither is proof
that the request was at fault. One that only another daemon could have seen counts half.

Nothing here costs a request anything before the first crash: digests are made when a replica ends, and
compared only while some body is refused. A request for which two replicas had no memory is refused alike.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from relayd.clock import Clock
from relayd.endpoint import Address, Endpoint
from relayd.errors import CrashedReplicasError
from relayd.journal import Journal
from relayd.router.eager import become_task
from relayd.router.headers import Call
from relayd.units import MIB

_JOURNAL = Journal("router")

REFUSED_SECONDS = 600.0
"""How long a body is refused, and a suspicion kept: a client's own retries are over by then."""

_ENOUGH = 2.0
"""Crashes that a body must have been in flight at: the first may be chance."""

_FRESH_SECONDS = 5.0
"""How long before an exit a request may have lost its connection and still be in flight at it."""

_VERDICT_SECONDS = 15.0
"""How long a request waits to know why its replica hung up. An exit is examined in milliseconds, on a machine
without a free core in seconds; a third replica must not end for that."""

_MOST_EXITS = 64
_MOST_BYTES = MIB
"""Bytes of a body that are hashed, half of them from each end: about 1 ms."""

_MOST_BODIES = 1024

Clear = Callable[[], None]
"""Called when a request is no longer suspected."""

Key = tuple[str, int, Address]
"""Which incarnation: replica, number and address."""


def digest(call: Call) -> str:
    """Return what identifies the request that a replica gets."""
    found, body, half = blake2b(call.path.encode(), digest_size=16), call.body, _MOST_BYTES // 2
    if len(body) > _MOST_BYTES:
        found.update(b"%d" % len(body) + body[:half])
        body = body[-half:]
    found.update(body)
    return found.hexdigest()


@dataclass(frozen=True, slots=True)
class _Strikes:
    """The crashes that a body was in flight at, and when the last one was (monotonic seconds)."""

    crashes: float = 0.0
    at: float = 0.0


@dataclass(slots=True, eq=False)
class _Hangups:
    """An incarnation that hung up on requests.

    Attributes:
        lost: When each body lost its connection (monotonic seconds).
        left: Requests whose clients have left, and that it may still work on.
        clear: Clears the requests that were lost.
        blame: How surely a request ended it; None until that is known.
        known: Set then.
    """

    lost: dict[str, float] = field(default_factory=dict)
    left: list[Call] = field(default_factory=list)
    clear: dict[str, list[Clear]] = field(default_factory=dict)
    blame: float | None = None
    known: asyncio.Event = field(default_factory=asyncio.Event)


class Suspects:
    """What was in flight as replicas ended, and the bodies that are refused for it.

    Args:
        clock: Time.
        running: Yields what runs on an incarnation now.
        on_starved: Called with the name of a replica in which an allocation has failed: the memory that a
            request took from the engine is never given back.

    Attributes:
        refusing: Digests of the bodies that are refused, and until when (monotonic seconds); while there
            are none, no request has to be compared.
    """

    def __init__(
        self,
        clock: Clock,
        running: Callable[[Endpoint], Iterable[Call]],
        on_starved: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._running = running
        self._on_starved = on_starved
        self._incarnations: dict[Key, _Hangups] = {}
        self._strikes: dict[str, _Strikes] = {}
        self.refusing: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Suspects suspected={len(self._strikes)} refused={len(self.refusing)}>"

    def check(self, call: Call) -> None:
        """Make sure that a request may reach a replica.

        Raises:
            CrashedReplicasError: Its body has crashed two of them.
        """
        now = self._clock.monotonic()
        while self.refusing and (first := next(iter(self.refusing.items())))[1] <= now:
            del self.refusing[first[0]]
        if digest(call) not in self.refusing:
            return
        raise CrashedReplicasError(
            "This request was running on two replicas as each of them crashed, hung or ran out of memory.",
            remedy=f"Change it: the same request is refused for {REFUSED_SECONDS / 60:.0f} minutes.",
        )

    def lost(self, endpoint: Endpoint, call: Call, clear: Clear | None = None) -> None:
        """Take note that a replica hung up on a request, which its end may explain.

        Args:
            endpoint: The incarnation.
            call: What it was working on.
            clear: Called when the request turns out not to have been the cause.
        """
        one, found = self._incarnation(endpoint), digest(call)
        is_new = found not in one.lost
        one.lost[found] = self._clock.monotonic()
        if clear:
            one.clear.setdefault(found, []).append(clear)
        if one.blame is not None:
            self._judge(one, {found} if is_new else (), one.blame)

    def left(self, endpoint: Endpoint, call: Call) -> Callable[[], None]:
        """Take note that a client left a request that a replica still works on.

        Returns:
            What is called once the replica is done with it, or has ended.
        """
        one = self._incarnation(endpoint)
        one.left.append(call)

        def done() -> None:
            one.left.remove(call)
            self.lost(endpoint, call)

        return done

    def in_flight(self, endpoint: Endpoint) -> frozenset[str]:
        """Return digests of what an incarnation was working on, as its end is seen."""
        one, now = self._incarnation(endpoint), self._clock.monotonic()
        one.lost |= dict.fromkeys(map(digest, (*self._running(endpoint), *one.left)), now)
        return frozenset(found for found, at in one.lost.items() if now - at < _FRESH_SECONDS)

    def exited(self, endpoint: Endpoint, blame: float) -> None:
        """Take note of why an incarnation ended.

        Args:
            endpoint: The incarnation.
            blame: How surely what it was working on has ended it, from 0 to 1.
        """
        one = self._incarnation(endpoint)
        one.blame = blame
        self._judge(one, self.in_flight(endpoint), blame)
        one.known.set()

    def starved(self, endpoint: Endpoint, call: Call) -> None:
        """Take note that a replica had no memory for a request; two replicas without it are proof."""
        self._on_starved(endpoint.replica)
        found = digest(call)
        if self._count(found, 1.0) >= _ENOUGH:
            self._refuse(found)

    @property
    def suspected(self) -> Mapping[str, tuple[float, float]]:
        """Digests of the bodies that were in flight at crashes: at how many, and when last."""
        return {body: (known.crashes, known.at) for body, known in self._strikes.items()}

    def resume(self, refused: Mapping[str, float], suspected: Mapping[str, tuple[float, float]]) -> None:
        """Go on from what an earlier daemon of this boot had found; what is known here counts before it."""
        self.refusing = dict(sorted({**refused, **self.refusing}.items(), key=lambda one: one[1]))
        found = {body: _Strikes(*known) for body, known in suspected.items()}
        self._strikes = found | self._strikes

    async def verdict(self, endpoint: Endpoint) -> None:
        """Wait until it is known why an incarnation hung up; for seconds at most: it may live on."""
        await become_task()
        try:
            async with asyncio.timeout(_VERDICT_SECONDS):
                await self._incarnation(endpoint).known.wait()
        except TimeoutError:
            return

    def _incarnation(self, endpoint: Endpoint) -> _Hangups:
        key = (endpoint.replica, endpoint.incarnation, endpoint.address)
        one = self._incarnations.get(key)
        if one is None:
            _drop_oldest(self._incarnations, _MOST_EXITS)
            one = self._incarnations[key] = _Hangups()
        stale = self._clock.monotonic() - _FRESH_SECONDS
        if one.blame is None:
            one.lost = {found: at for found, at in one.lost.items() if at > stale}
        return one

    def _judge(self, one: _Hangups, bodies: Iterable[str], blame: float) -> None:
        """Count an exit against what was in flight, and refuse what is left as its only cause."""
        if not blame:
            _clear(one)
            return
        for body in bodies:
            self._count(body, blame)
        counted = {body: self._strikes.get(body, _Strikes()).crashes for body in one.lost}
        most = max(counted.values(), default=0.0)
        worst = [body for body, crashes in counted.items() if crashes == most]
        if most >= _ENOUGH and len(worst) == 1:
            self._refuse(worst[0])

    def _count(self, body: str, blame: float) -> float:
        """Count an exit against a body, and return how many that makes."""
        now, before = self._clock.monotonic(), self._strikes.pop(body, _Strikes())
        crashes = blame + (before.crashes if now - before.at < REFUSED_SECONDS else 0.0)
        _drop_oldest(self._strikes, _MOST_BODIES)
        self._strikes[body] = _Strikes(crashes, now)
        return crashes

    def _refuse(self, culprit: str) -> None:
        """Refuse a body, and clear all that was in flight beside it."""
        _drop_oldest(self.refusing, _MOST_BODIES)
        self.refusing.pop(culprit, None)
        self.refusing[culprit] = self._clock.monotonic() + REFUSED_SECONDS
        _JOURNAL.warning("request.refused_after_crash", crashes=self._strikes[culprit].crashes)
        for one in self._incarnations.values():
            if culprit not in one.lost:
                continue
            for body in one.lost.keys() - {culprit}:
                self._strikes.pop(body, None)
            _clear(one, but=culprit)


def _clear(one: _Hangups, *, but: str = "") -> None:
    """Clear what was in flight at an exit, all but one body."""
    for body in [body for body in one.clear if body != but]:
        for clear in one.clear.pop(body):
            clear()


def _drop_oldest(known: "dict[Any, Any]", most: int) -> None:
    while len(known) >= most:
        del known[next(iter(known))]

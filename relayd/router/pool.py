"""Which connection carries a request, and how long is it kept (connection pool)?"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from relayd.endpoint import Address, Endpoint
from relayd.errors import UpstreamError
from relayd.router.eager import become_task
from relayd.router.headers import Call
from relayd.router.replicapool import ReplicaPool, pool_of
from relayd.router.silence import Silence
from relayd.router.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Fetched:
    """A small answer, read to its end (or to 256 KiB) and freed of its framing."""

    status: int
    body: bytes
    passing: tuple[tuple[str, str], ...] = ()
    """The fields of its head that a client may see."""


Hold = Callable[[], Callable[[], None]]
"""Called when a request is left unfinished; returns what is called once the replica is done with it."""

Begun = tuple[Upstream, bool]
"""A connection that a request was sent on, and whether its answer is known to have begun."""

_BETWEEN_BATCHES = Call.get("/lora-adapters")
"""What llama-server answers between two batches, behind the cancellations that came before it."""

_LONGEST_BATCH_SECONDS = 60.0

OnSent = Callable[[Upstream], None]
"""Called with the connection that a request is about to be sent on."""


class Pools:
    """Idle connections, one pool for each incarnation of a replica.

    A pool never opens more connections than requests run at a time, which the scheduler
    bounds by the replica's slots. Its limits stay inside the engine's own: 5 s idle, 100
    requests, and one thread that polls every 10 ms for each open connection.

    Args:
        connect_seconds: How long a replica may take to accept.
        idle_seconds: How long a connection waits for its next request.
        most_uses: Requests a connection carries.
        silence_seconds: How long a stream may send nothing at all.
        owed_seconds: How long a replica may owe the end of a request that was left, while none of its
            connections gets a byte.
        on_owed: Called with the name of one that owes it for longer, again and again until it ends it.
        infer_batch: Returns how many seconds a replica takes for a batch of a prompt, where no prompt has
            shown it yet; 0 when it is not known.
    """

    def __init__(
        self,
        *,
        connect_seconds: float = 5,
        idle_seconds: float = 3,
        most_uses: int = 90,
        silence_seconds: float = 120,
        owed_seconds: float = 10,
        on_owed: Callable[[str], None] = lambda _: None,
        infer_batch: Callable[[Endpoint], float] = lambda _: 0.0,
    ) -> None:
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._most_uses = most_uses
        self._silence = Silence(silence_seconds)
        self._silences: dict[float, Silence] = {}
        self._pools: dict[tuple[str, int, Address], ReplicaPool] = {}
        self._latest: dict[str, ReplicaPool] = {}
        self._with_idle: set[ReplicaPool] = set()
        self._owed_seconds = owed_seconds
        self._on_owed = on_owed
        self._infer_batch = infer_batch
        self._left: dict[Upstream, asyncio.TimerHandle] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        idle = sum(len(pool.idle) for pool in self._with_idle)
        return f"<Pools idle={idle} left={len(self._left)} incarnations={len(self._with_idle)}>"

    async def fetch(self, endpoint: Endpoint, call: Call, *, timeout_seconds: float) -> Fetched:
        """Return the whole answer to a small request of relayd's own.

        It has a connection of its own, so it takes none from a request that holds a slot.

        Raises:
            OSError: The replica cannot be reached, hung up, or took longer than `timeout_seconds`.
            UpstreamError: Its answer is not HTTP.
        """
        return await self._fetch(self._pool_of(endpoint), call, timeout_seconds)

    async def _fetch(self, pool: ReplicaPool, call: Call, timeout_seconds: float) -> Fetched:
        """Do the same for an incarnation that may have been retired meanwhile."""
        async with asyncio.timeout(timeout_seconds):
            upstream = await self._open(pool)
            try:
                await upstream.send(call)
                if upstream.error is not None:
                    raise upstream.error
                return Fetched(upstream.head.status, upstream.payload(), upstream.head.passing)
            finally:
                upstream.close()

    async def get(
        self, endpoint: Endpoint, path: str, *, with_key: bool, timeout_seconds: float
    ) -> tuple[int, bytes]:
        """Return status and body of a path of the replica.

        Raises:
            OSError: There was no answer in `timeout_seconds`, or none that is HTTP.
        """
        call = Call.get(path, with_key=with_key)
        try:
            fetched = await self.fetch(endpoint, call, timeout_seconds=timeout_seconds)
        except UpstreamError as error:
            raise ConnectionError(error.message) from error
        return fetched.status, fetched.body

    async def ask(
        self,
        endpoint: Endpoint,
        call: Call,
        hold: Hold,
        on_sent: OnSent = lambda _: None,
        begun: Begun | None = None,
    ) -> Upstream:
        """Return the connection on which the answer to `call` has begun; give it back.

        A kept connection that is lost before its answer's first byte was most likely closed
        while the request was on its way, so a fresh one gets the request once more. Where none
        can be made, the replica ended with the request, which is to be known as one that it hung up on.

        Args:
            endpoint: The replica.
            call: What it gets.
            hold: Called if the request is left before it has begun to be answered.
            on_sent: Called with each connection that the request is sent on.
            begun: A kept connection that it was sent on already.

        Raises:
            OSError: The replica cannot be reached, hung up, or fell silent.
            UpstreamError: Its answer is not HTTP.
        """
        pool = self._latest.get(endpoint.replica)
        if pool is None or pool.endpoint is not endpoint:
            pool = self._pool_of(endpoint)
        kept = begun[0] if begun is not None else self._take(pool) if pool.idle else None
        lost: OSError | None = None
        while True:
            try:
                upstream = kept or await self._connect(pool)
            except OSError as error:
                raise lost or error from None
            on_sent(upstream)
            is_sent = begun is not None and upstream is begun[0]
            has_begun = is_sent and begun is not None and begun[1]
            try:
                await (upstream.wait(has_begun=has_begun) if is_sent else upstream.send(call))
            except BaseException:
                self.give_back(upstream, hold)
                raise
            if (failure := upstream.error) is None or has_begun:  # what has come of it is passed on first
                return upstream
            self.give_back(upstream, hold)
            if upstream.uses == 1 or upstream.answered or not isinstance(failure, ConnectionError):
                raise failure
            kept, lost = None, failure

    async def prepare(self, endpoint: Endpoint) -> None:
        """Open a connection before there is a request for it.

        Raises:
            OSError: The replica cannot be reached.
        """
        upstream = await self._connect(self._pool_of(endpoint))
        upstream.last_byte_at = asyncio.get_running_loop().time()
        self._keep(upstream)

    def kept(self, endpoint: Endpoint) -> Upstream | None:
        """Return a kept connection to a replica, for one request; None where one has to be made."""
        pool = self._latest.get(endpoint.replica)
        if pool is None or pool.endpoint is not endpoint or not pool.idle:
            return None
        upstream = pool.idle.pop()
        if upstream.can_follow(asyncio.get_running_loop().time() - self._idle_seconds):
            return upstream
        upstream.close()
        return self._take(pool)

    def give_back(self, upstream: Upstream, hold: Hold) -> None:
        """Keep a connection whose answer is over; leave any other, which cancels its request.

        Args:
            upstream: The connection.
            hold: Called if the replica may still work on the request, so that its slot stays taken.
        """
        if upstream.is_unfinished:
            self._leave(upstream, hold)
        elif upstream.rest():
            if upstream.uses < self._most_uses:
                self._keep(upstream)
                return
            upstream.close()
            if not upstream.pool.is_elsewhere:
                self._renew(upstream.pool)

    def _renew(self, pool: ReplicaPool) -> None:
        """Open a connection in place of one that was used often enough: a request would wait for it."""
        self._run(self._open_another(pool))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        """Do something beside the requests."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _open_another(self, pool: ReplicaPool) -> None:
        with suppress(OSError):  # a request that meets this fault reports it
            upstream = await self._connect(pool)
            if self._latest.get(pool.endpoint.replica) is pool:
                upstream.last_byte_at = asyncio.get_running_loop().time()
                self._keep(upstream)
            else:
                upstream.close()

    def _keep(self, upstream: Upstream) -> None:
        pool = upstream.pool
        if not pool.idle:
            self._with_idle.add(pool)
            if self._sweeper is None:
                self._schedule_sweep(self._idle_seconds)
        pool.idle.append(upstream)

    def _leave(self, upstream: Upstream, hold: Hold) -> None:
        """Cancel a request; where only a close does that, nothing shows when the server is done with it."""
        if not upstream.pool.endpoint.profile.half_closes:
            upstream.close()
            return
        release = hold()
        self._watch(upstream)
        upstream.leave(partial(self._ended, upstream, release))

    def _watch(self, upstream: Upstream) -> None:
        loop = asyncio.get_running_loop()
        self._left[upstream] = loop.call_later(self._owed_seconds, self._look, upstream, loop.time())

    def _look(self, upstream: Upstream, since: float) -> None:
        """Report a replica that still owes an end, if nothing came from it since the last look."""
        self._watch(upstream)
        if self.is_silent(upstream.pool, since):
            self._on_owed(upstream.pool.endpoint.replica)

    def _ended(self, upstream: Upstream, release: Callable[[], None]) -> None:
        """Count the slot as free; where a prompt was being read, once the engine is done with its batch."""
        self._left.pop(upstream).cancel()
        if upstream.pool.ends_when_done or not upstream.may_read_prompt:
            release()
        elif upstream.pool.is_elsewhere:
            asyncio.get_running_loop().call_later(self._batch_under_way(upstream), release)
        else:
            self._run(self._await_batch(upstream, release))

    async def _await_batch(self, upstream: Upstream, release: Callable[[], None]) -> None:
        """Call `release` once the engine has ended the batch in which a prompt was left.

        It is asked something that it answers then. Where it does not, its batch takes as long as they take.
        """
        batch_seconds, clock = self._batch_under_way(upstream), asyncio.get_running_loop().time
        asked_at = clock()
        is_over = False
        try:
            with suppress(OSError, UpstreamError):
                answer = await self._fetch(upstream.pool, _BETWEEN_BATCHES, _LONGEST_BATCH_SECONDS)
                is_over = answer.status == 200
            if not is_over:
                await asyncio.sleep(asked_at + batch_seconds - clock())
        finally:
            release()

    def _batch_under_way(self, upstream: Upstream) -> float:
        """Return how long the batch may take at most in which a prompt was left (seconds).

        Where nothing has shown it, as long as it has taken so far.
        """
        known = upstream.pool.batch_seconds or self._infer_batch(upstream.pool.endpoint)
        return known or asyncio.get_running_loop().time() - upstream.last_byte_at

    def retire(self, endpoint: Endpoint) -> None:
        """Close the idle connections of an incarnation that gets no more requests."""
        pool = self._pool_of(endpoint)
        del self._latest[endpoint.replica], self._pools[_identity(endpoint)]
        self._with_idle.discard(pool)
        while pool.idle:
            pool.idle.pop().close()

    def batch_seconds(self, endpoint: Endpoint) -> float:
        """Return how long a replica takes for a batch of a prompt; 0 when that is not known yet."""
        return self._pool_of(endpoint).batch_seconds or self._infer_batch(endpoint)

    def owes(self, replica: str) -> bool:
        """Return whether a replica owes the end of a request that was left; reading counters delays it."""
        return any(upstream.pool.endpoint.replica == replica for upstream in self._left)

    def is_silent(self, pool: ReplicaPool, since: float) -> bool:
        """Return whether an incarnation has sent nothing to any request since a moment, in loop time."""
        return all(one.last_byte_at < since for one in pool.every)

    def close(self) -> None:
        """Close every connection that no request uses."""
        for upstream in tuple(self._left):
            upstream.close()
        for task in self._running:
            task.cancel()
        for pool in self._with_idle:
            while pool.idle:
                pool.idle.pop().close()
        self._with_idle.clear()
        for silence in (self._silence, *self._silences.values()):
            silence.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _take(self, pool: ReplicaPool) -> Upstream | None:
        """Return the connection that was used last, so that the others grow old."""
        since = asyncio.get_running_loop().time() - self._idle_seconds
        while pool.idle:
            upstream = pool.idle.pop()
            if upstream.can_follow(since):
                return upstream
            upstream.close()
        return None

    async def _connect(self, pool: ReplicaPool) -> Upstream:
        await become_task()
        try:
            async with asyncio.timeout(self._connect_seconds):
                upstream = await self._open(pool)
        except TimeoutError as error:
            raise TimeoutError(
                f"the replica accepted no connection in {self._connect_seconds:g} s"
            ) from error
        pool.every.add(upstream)
        self._silence_of(pool.endpoint.profile.silence_seconds).watch(upstream)
        return upstream

    def _silence_of(self, seconds: float) -> Silence:
        """Return what looks at connections to servers that may be silent for so long; 0 is as replicas."""
        if not seconds:
            return self._silence
        if (known := self._silences.get(seconds)) is None:
            known = self._silences[seconds] = Silence(seconds)
        return known

    async def _open(self, pool: ReplicaPool) -> Upstream:
        loop = asyncio.get_running_loop()
        upstream = await pool.endpoint.address.open(loop, partial(Upstream, loop, pool))
        upstream.notice_dead_peers()
        return upstream

    def _schedule_sweep(self, seconds: float) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(seconds, self._sweep)

    def _sweep(self) -> None:
        """Close what is too old; the oldest stand in front."""
        self._sweeper = None
        now = asyncio.get_running_loop().time()
        for pool in tuple(self._with_idle):
            while pool.idle and not pool.idle[0].can_follow(now - self._idle_seconds):
                pool.idle.popleft().close()
            if not pool.idle:
                self._with_idle.remove(pool)
        if oldest := [pool.idle[0].last_byte_at for pool in self._with_idle]:
            self._schedule_sweep(min(oldest) + self._idle_seconds - now)

    def _pool_of(self, endpoint: Endpoint) -> ReplicaPool:
        """Return the one pool of an incarnation; the scheduler repeats its endpoints."""
        latest = self._latest.get(endpoint.replica)
        if latest is not None and latest.endpoint is endpoint:
            return latest
        pool = self._pools.setdefault(_identity(endpoint), pool_of(endpoint))
        pool.endpoint = endpoint
        self._latest[endpoint.replica] = pool
        return pool


def _identity(endpoint: Endpoint) -> tuple[str, int, Address]:
    return endpoint.replica, endpoint.incarnation, endpoint.address

"""One JSON line for each finished request, written away from the event loop (request log).

A line holds no text of prompt or answer and no key, only the key's name. A disk that is slow or
full costs lines, never requests: how many were lost stands in the next line that could be written.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec

from relayd.clock import Clock
from relayd.journal import Journal
from relayd.scheduler import Ended, Exchange
from relayd.supervisor.logs import open_log, show_time
from relayd.supervisor.rotation import rotate
from relayd.units import Bytes

Requests = Literal["off", "errors", "all"]
"""Which requests are logged: none, those that were refused or cut, or every one."""

_ERRORS = (Ended.REFUSED, Ended.CUT)
_MOST_LINES = 4096
_WARN_SECONDS = 60.0


class RequestLog:
    """Collects finished requests, and appends them to a file from a thread.

    Args:
        path: The file; its folder is made.
        clock: Time.
        retains: Returns whether anything may be kept of requests with a key, by its id.
        flush_seconds: How long a line may wait for others to be written with it.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        retains: Callable[[str], bool] = lambda _: True,
        *,
        flush_seconds: float = 0.5,
    ) -> None:
        self._path = path
        self._clock = clock
        self._retains = retains
        self._flush_seconds = flush_seconds
        self._journal = Journal("requests")
        self._requests: Requests = "off"
        self._is_journaled = False
        self._limits = (Bytes(0), 0)
        self._waiting: list[Exchange] = []
        self._lost = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._quiet_until = 0.0

    def __repr__(self) -> str:
        return f"<RequestLog {self._requests} waiting={len(self._waiting)} lost={self._lost}>"

    def configure(
        self, requests: Requests, *, max_bytes: Bytes, backups: int, journaled: bool = False
    ) -> None:
        """Take what is logged from now on, and the size at which the file is rotated.

        Args:
            requests: Which requests.
            max_bytes: The size.
            backups: Rotated files that are kept.
            journaled: Whether the daemon's own log has a line for each request too (level `debug`).
        """
        self._requests = requests
        self._is_journaled = journaled
        self._limits = (max_bytes, backups)

    def note(self, exchange: Exchange) -> None:
        """Log a request, if it is one of those that are wanted; returns at once."""
        if self._is_journaled:
            self._journal.debug(
                "request.ended",
                request_id=exchange.request_id,
                model=exchange.ask.model,
                replica=exchange.replica,
                ended=exchange.ended.value,
                status=exchange.status,
                code=exchange.code,
            )
        if self._requests == "off" or (self._requests == "errors" and exchange.ended not in _ERRORS):
            return
        if not self._retains(exchange.ask.key):
            return
        if len(self._waiting) >= _MOST_LINES:
            self._lost += 1
            return
        self._waiting.append(exchange)
        self._schedule()

    async def close(self) -> None:
        """Write what waits, and wait until it is written."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            await self._writing
        await self._write()

    def _schedule(self) -> None:
        if self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(self._flush_seconds, self._flush)

    def _flush(self) -> None:
        self._timer = None
        self._writing = asyncio.get_running_loop().create_task(self._write())
        self._writing.add_done_callback(self._written)

    def _written(self, _task: "asyncio.Task[None]") -> None:
        self._writing = None
        if self._waiting:
            self._schedule()

    async def _write(self) -> None:
        batch, self._waiting = self._waiting, []
        lost, self._lost = self._lost, 0
        if not batch and not lost:
            return
        now, offset = self._clock.wall(), self._clock.wall() - self._clock.monotonic()
        lines = [_lost_line(lost, now)] if lost else []
        try:
            await asyncio.to_thread(_append, self._path, batch, lines, offset, self._limits)
        except OSError as error:
            self._lost += lost + len(batch)
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        now = self._clock.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _WARN_SECONDS
            self._journal.warning("requests.not_logged", path=self._path, message=error.strerror)


class LoggedRequest(msgspec.Struct, frozen=True, gc=False, rename={"klass": "class"}):
    """A line, member by member; a struct is written in a fraction of the time of a dictionary."""

    time: str
    request_id: str
    path: str
    model: str
    key: str
    klass: str
    stream: bool
    ended: str
    status: int
    code: str
    replica: str
    incarnation: int
    attempts: int
    continued: int
    queue_ms: float | None
    first_byte_ms: float | None
    total_ms: float | None
    sent_bytes: int
    prompt_tokens: int | msgspec.UnsetType = msgspec.UNSET
    cached_tokens: int | msgspec.UnsetType = msgspec.UNSET
    completion_tokens: int | msgspec.UnsetType = msgspec.UNSET
    prompt_ms: float | msgspec.UnsetType = msgspec.UNSET
    completion_ms: float | msgspec.UnsetType = msgspec.UNSET


_encode = msgspec.json.Encoder().encode


def line(exchange: Exchange, offset: float) -> bytes:
    """Return one request as JSON.

    Args:
        exchange: What happened.
        offset: Seconds since 1970 when monotonic time was 0.
    """
    ask, usage, begun = exchange.ask, exchange.usage, exchange.arrived_at
    logged = LoggedRequest(  # by position, as a name for each costs as much as the value
        _time(exchange.ended_at + offset), exchange.request_id, exchange.path, ask.model, ask.key, ask.klass,
        ask.stream, exchange.ended.value, exchange.status, exchange.code, exchange.replica,
        exchange.incarnation, exchange.attempts, exchange.continued,
        _milliseconds(exchange.queued_at, exchange.placed_at), _milliseconds(begun, exchange.first_byte_at),
        _milliseconds(begun, exchange.ended_at), exchange.sent_bytes,
        *(() if usage is None else (
            usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, round(usage.prompt_ms, 1),
            round(usage.completion_ms, 1),
        )),
    )  # fmt: skip
    return _encode(logged) + b"\n"


def _time(wall_seconds: float) -> str:
    """Return a moment as logs write it; most lines are of the second of the line before."""
    milliseconds = round(wall_seconds * 1_000_000) // 1000  # cut off, as `show_time` does
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03}Z"


@lru_cache(maxsize=4)
def _second(wall_seconds: int) -> str:
    return show_time(wall_seconds).removesuffix(".000Z")


def _milliseconds(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(1000 * (end - start), 1)


def _lost_line(lost: int, wall_seconds: float) -> bytes:
    return msgspec.json.encode({"time": show_time(wall_seconds), "lost_lines": lost}) + b"\n"


def _append(
    path: Path, batch: list[Exchange], more: list[bytes], offset: float, limits: tuple[Bytes, int]
) -> None:
    """Rotate the file if it is full, and append lines to it; runs in a thread.

    A daemon that has handed over writes into the file of its successor: a lock keeps the two from rotating
    it at the same time, which would lose one of the old files.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    max_bytes, backups = limits
    lines = memoryview(b"".join([*(line(exchange, offset) for exchange in batch), *more]))
    descriptor = open_log(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # of the file itself: rotation empties it and keeps it
        rotate(path, max_bytes=max_bytes, backups=backups)
        size = os.fstat(descriptor).st_size
        try:
            while lines:
                lines = lines[os.write(descriptor, lines) :]
        except OSError:
            os.ftruncate(descriptor, size)  # half a line would spoil the next one
            raise
    finally:
        os.close(descriptor)

"""How far has the engine read a prompt, and how long does it take for a batch of it (prefill)?

With `return_progress` a stream begins with one chunk for each batch. A client that did not ask for them gets
none of them, and its answer begins with the first chunk of another kind.
"""

import re
from collections.abc import Callable, Iterable
from itertools import islice
from statistics import median

import msgspec

from relayd.endpoint import Endpoint
from relayd.router.framing import CHUNK_SIZE
from relayd.scheduler.exchange import Exchange

_PROGRESS = re.compile(rb'"prompt_progress":\{"total":(\d+),"cache":(\d+),"processed":(\d+),"time_ms":(\d+)')
"""The engine's own form (`result_prompt_progress::to_json`); in a text its quotes would be escaped."""

_TELLING_TOKENS = 32
"""Tokens of a prompt from whose time a batch's is inferred: with fewer, overheads count most."""

_TELLING_ANSWERS = 8
"""The last answers of an incarnation that are looked at."""

_LONGEST_INFERRED = 10.0
"""Seconds at most: a short prompt that waited behind others looks far slower than it is."""


class PromptProgress(msgspec.Struct, frozen=True, gc=False):
    """How far a prompt is.

    Attributes:
        total: Its tokens.
        cached: Those that were in the cache.
        processed: Those that are read, the cached ones included.
        ms: Milliseconds that it took so far.
    """

    total: int
    cached: int
    processed: int
    ms: int


def progress_in(data: bytes, start: int = 0, end: int | None = None) -> PromptProgress | None:
    """Return the first report of progress in some bytes of a stream."""
    found = _PROGRESS.search(data, start, len(data) if end is None else end)
    return None if found is None else PromptProgress(*map(int, found.groups()))


class Prefill:
    """Takes the progress of a prompt out of the beginning of a stream.

    Args:
        on_batch: Called with the seconds that a batch took.

    Attributes:
        is_over: Something else than progress has come.
        last: The last progress that was reported.
    """

    __slots__ = ("_begun", "_on_batch", "is_over", "last")

    def __init__(self, on_batch: Callable[[float], None]) -> None:
        self.is_over = False
        self._on_batch = on_batch
        self._begun = b""
        self.last: PromptProgress | None = None

    def __repr__(self) -> str:
        return f"<Prefill {self.last} over={self.is_over}>"

    def feed(self, data: bytes) -> bytes:
        """Take bytes with their chunk framing, and return what of them is not progress; empty so far."""
        if self.is_over:
            return data
        data, self._begun = self._begun + data, b""
        while size := CHUNK_SIZE.match(data):
            end = size.end() + int(size[1], 16) + len(b"\r\n")
            if len(data) < end:
                break
            progress = progress_in(data, size.end(), end)
            if progress is None:
                self.is_over = True
                return data
            self._note(progress)
            data = data[end:]
        self._begun = data
        return b""

    def _note(self, progress: PromptProgress) -> None:
        """Take note of a batch that has ended; the last one of a prompt may be a small one."""
        if self.last is not None and progress.processed < progress.total:
            self._on_batch((progress.ms - self.last.ms) / 1000)
        self.last = progress


def inferred_batch(exchanges: Iterable[Exchange], endpoint: Endpoint, batch_tokens: int) -> float:
    """Return how many seconds an incarnation takes for a batch, by the timings of its last answers.

    For one that has read no prompt of several batches yet. 0 where its answers show nothing either.

    Args:
        exchanges: The last requests, the newest first.
        endpoint: Which incarnation.
        batch_tokens: How many tokens a batch holds (`--batch-size`).
    """
    life = endpoint.replica, endpoint.incarnation
    usages = (one.usage for one in exchanges if one.usage and (one.replica, one.incarnation) == life)
    read = ((one.prompt_tokens - one.cached_tokens, one.prompt_ms) for one in usages)
    telling = (ms / tokens / 1000 for tokens, ms in read if tokens >= _TELLING_TOKENS and ms)
    found = tuple(islice(telling, _TELLING_ANSWERS))
    return min(batch_tokens * median(found), _LONGEST_INFERRED) if found else 0.0

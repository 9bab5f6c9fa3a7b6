"""How far has the engine read a prompt, and how long does it take for a batch of it (prefill)?

With `return_progress` a stream begins with one chunk for each batch. A client that did not ask for them gets
none of them, and its answer begins with the first chunk of another kind.
"""

import re
from collections.abc import Callable

import msgspec

from relayd.router.framing import CHUNK_SIZE

_PROGRESS = re.compile(rb'"prompt_progress":\{"total":(\d+),"cache":(\d+),"processed":(\d+),"time_ms":(\d+)')
"""The engine's own form (`result_prompt_progress::to_json`); in a text its quotes would be escaped."""


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
        if self.last is not None:
            self._on_batch((progress.ms - self.last.ms) / 1000)
        self.last = progress

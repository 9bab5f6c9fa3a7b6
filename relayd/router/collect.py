"""How does the plain answer to a request come together from a stream (collected answer)?

llama-server notices at the next event of a stream that its client has left, but only at the end of a plain
answer while others run beside it. So a plain request of width 1 is sent as a stream (`collected` states how),
and the answer that the engine would have given is made of the events: one collector a dialect, equal member
by member (b11434), ids and times apart.

A stream never holds what its last tokens left open, so an answer that `max_tokens` ends there is shorter than
the engine's own: inside a character it lacks the U+FFFD, inside what may become a stop string that beginning,
and before the first word (inside `<think>`) the mark itself.
"""

from abc import ABC, abstractmethod

import msgspec

from relayd.errors import UpstreamError
from relayd.router.dialect import Problem
from relayd.units import KIB

_FOLD_BYTES = 16 * KIB
"""Events are read this many bytes at a time: 50 to 100 of them, in 0.1 ms."""

_MOST_PIECES = 1024
"""Pieces of text that are held one by one."""

_DATA = b"data: "
_DONE = b"[DONE]"
_ABSENT = msgspec.Raw()


class Collector(ABC):
    """A plain answer in the making.

    What is fed are the bytes of a stream, freed of their HTTP framing, in pieces of any size. Where another
    replica continues an answer, its events are fed behind `cut`: a role, an id or a beginning that comes
    again changes nothing.

    Attributes:
        problem: Why the engine gave up; None unless it did.
        is_over: The last event of the stream has been read.
    """

    def __init__(self) -> None:
        self.problem: Problem | None = None
        self.is_over = False
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._text = self._reasoning = ""  # what was in these lists before they were emptied
        self._pieces = 0
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._enough_bytes = _FOLD_BYTES

    def __repr__(self) -> str:
        return f"<{type(self).__name__} kept={self._kept_bytes} over={self.is_over}>"

    @property
    def text(self) -> str:
        """The text, as far as it was read."""
        return self._text + "".join(self._texts)

    @property
    def reasoning(self) -> str:
        """The reasoning, as far as it was read."""
        return self._reasoning + "".join(self._thoughts)

    @property
    def pieces(self) -> int:
        """How many events with text or reasoning were read: as many tokens, or fewer than there were."""
        return self._pieces + sum(map(bool, self._texts)) + len(self._thoughts)

    @property
    def has_ended(self) -> bool:
        """Whether an event has stated why the answer ended."""
        return self.is_over

    @property
    def tokens(self) -> tuple[int, ...]:
        """The ids of its tokens, where the engine states them."""
        return ()

    @property
    def has_called(self) -> bool:
        """Whether a call of a tool has begun."""
        return False

    def feed(self, payload: bytes) -> None:
        """Take the next bytes.

        Raises:
            UpstreamError: An event cannot be read.
        """
        self._kept.append(payload)
        self._kept_bytes += len(payload)
        if self._kept_bytes >= self._enough_bytes:
            self.fold()

    def fold(self) -> None:
        """Read the events that are complete; what was collected is up to date afterwards.

        Raises:
            UpstreamError: An event cannot be read.
        """
        kept = b"".join(self._kept)
        end = kept.rfind(b"\n\n") + 1
        if end:
            self._read_all(kept[:end])
        if len(self._texts) + len(self._thoughts) > _MOST_PIECES:
            self._join()
        self._kept = [kept[end:]]
        self._kept_bytes = len(kept) - end
        self._enough_bytes = max(_FOLD_BYTES, 2 * self._kept_bytes)  # one event may be as long as its prompt

    def _join(self) -> None:
        """Hold what was read as one string: a piece is a few letters, and takes 60 bytes besides."""
        self._pieces, self._text, self._reasoning = self.pieces, self.text, self.reasoning
        self._texts.clear()
        self._thoughts.clear()

    def cut(self) -> None:
        """Take note that the stream broke off here; the event that had begun is dropped."""
        self.fold()
        self._kept, self._kept_bytes = [], 0

    def finish(self) -> bytes:
        """Return the whole answer; nothing if the engine gave up.

        Raises:
            UpstreamError: The stream ended before its last event, or is not one of the engine's.
        """
        self.fold()
        if not self.is_over:
            raise UpstreamError("The replica closed an event stream before its last event.")
        return b"" if self.problem else self._whole()

    def _read_all(self, events: bytes) -> None:
        found = [line[len(_DATA) :] for line in events.split(b"\n") if line.startswith(_DATA)]
        if found and found[-1] == _DONE:
            self.is_over = True
            found.pop()
        try:
            self._read(found)
        except msgspec.DecodeError as error:
            raise UpstreamError("The replica sent an event that cannot be read.") from error

    def _failed(self, error: bytes) -> None:
        """Take note of the error with which the engine ended the stream."""
        self.problem = problem_in(error)
        self.is_over = True

    @abstractmethod
    def _read(self, events: list[bytes]) -> None:
        """Add up events, each the JSON of one."""

    @abstractmethod
    def _whole(self) -> bytes:
        """Return the answer, which is complete."""


class _FailureCode(msgspec.Struct, gc=False):
    code: int = 500


class _ErrorEvent(msgspec.Struct, gc=False):
    error: msgspec.Raw = _ABSENT
    code: int = 500


_error_event = msgspec.json.Decoder(_ErrorEvent)
_engine_error = msgspec.json.Decoder(_FailureCode)


def problem_in(event: bytes) -> Problem:
    """Return why the engine gave up, with the status that the plain request would have had.

    Args:
        event: The JSON of its last event; on `/v1/messages` that is the error itself, elsewhere its `error`.

    Raises:
        UpstreamError: It has not the engine's shape.
    """
    try:
        found = _error_event.decode(event)
        status = found.code if not found.error else _engine_error.decode(found.error).code
    except msgspec.DecodeError as error:
        raise UpstreamError("The replica sent an event that cannot be read.") from error
    return Problem.of_engine(status, event if found.error else b'{"error":%b}' % event)


_FAILURES = (b'data: {"error":', b"event: error\n")


def begins_with_failure(held: bytes) -> bool:
    """Return whether the engine gave up at once, from the first bytes of a stream in its chunk framing."""
    return held.startswith(_FAILURES, held.find(b"\n") + 1)


class FailureCollector(Collector):
    """A stream that is nothing but an error."""

    def _read(self, events: list[bytes]) -> None:
        for event in events:
            self._failed(event)

    def _whole(self) -> bytes:
        return b""

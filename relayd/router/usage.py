"""How many tokens did an answer cost, read from its last bytes once it is over (usage, timings)?

The engine names them at the end of a stream and of a plain answer, except for embeddings, whose
list comes after them. So the first and the last bytes are kept while an answer passes, and
nothing is parsed before its end.
"""

import re
from collections import deque
from collections.abc import Sequence
from typing import ClassVar, TypeVar

import msgspec

from relayd.router.prefill import PromptProgress, progress_in
from relayd.scheduler.exchange import Usage

_Figures = TypeVar("_Figures")

_FIRST_BYTES = 512
_LAST_PIECES = 8
_PIECE_BYTES = 4096

_SPLIT = re.compile(rb"\r\n[0-9A-Fa-f]{1,15}\r\n")
"""What chunk framing puts into the middle of a value; JSON itself holds no raw line ends."""

_ENDS = re.compile(rb'"(?:finish_reason|stop_reason)":"|"stop":true')
"""What marks the last event of a prompt; with `timings_per_token` every event has timings."""

_EVENT_END = b"\n\n"

_USAGE, _TIMINGS = b'"usage"', b'"timings"'
"""Quotes inside a text are escaped, so what a model writes never matches."""


class Tap:
    """Keeps the first and the last bytes of an answer: about 32 KiB at most, most often references.

    Attributes:
        kept: Where pieces may be put instead of calling `add`; `pack` is called once there are many.
    """

    __slots__ = ("_first", "_last")

    kept: ClassVar[list[bytes] | None] = None

    def __init__(self) -> None:
        self._first = b""
        self._last: deque[bytes] = deque(maxlen=_LAST_PIECES)

    def add(self, raw: bytes) -> None:
        """Take the next piece."""
        last = self._last
        if not last:
            self._first = raw[:_FIRST_BYTES]
        last.append(raw if len(raw) <= _PIECE_BYTES else raw[-_PIECE_BYTES:])

    def pack(self) -> None:
        """Take up what was put into `kept`."""

    def ends_with(self, ending: bytes) -> bool:
        """Return whether these are the last bytes so far."""
        last = self._last[-1] if self._last else b""
        if len(last) < len(ending):
            last = b"".join(self._last)
        return last.endswith(ending)

    @property
    def events(self) -> int:
        """How many events of a stream have passed; 0 where they are not counted."""
        return 0

    @property
    def progress(self) -> PromptProgress | None:
        """How long the prompt is, if the first event of the stream is about that."""
        return progress_in(self._first)

    def usage(self) -> Usage | None:
        """Return what the bytes say of tokens; None when they name none."""
        if len(self._last) == 1 and len(self._last[0]) < _PIECE_BYTES:
            return _whole_usage(self._last[0])
        return read_usage(b"".join(self._last), self._first) or read_usage(self._first)


def events_in(raw: bytes) -> int:
    """Return how many events end in some bytes of a stream."""
    return raw.count(_EVENT_END)


class CountingTap(Tap):
    """Counts the events of a stream: only of one whose pieces are not kept."""

    __slots__ = ("_events",)

    def __init__(self) -> None:
        super().__init__()
        self._events = 0

    @property
    def events(self) -> int:
        """How many events have passed."""
        return self._events

    def add(self, raw: bytes) -> None:
        """Take the next piece."""
        super().add(raw)
        self._events += events_in(raw)


class SummingTap(CountingTap):
    """Adds up what a stream reports for each of its prompts, at the prompt's own end."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        super().__init__()
        self._ends: list[bytes] = []

    def add(self, raw: bytes) -> None:
        """Take the next piece."""
        super().add(raw)
        self._keep(raw)

    def usage(self) -> Usage | None:
        """Return the sum over all prompts; None when the bytes name no tokens."""
        return total([one for one in map(read_usage, self._ends) if one])

    def _keep(self, raw: bytes) -> None:
        if _TIMINGS in raw:
            self._ends += (event for event in raw.split(b"\n\n") if _TIMINGS in event and _ENDS.search(event))


def total(found: Sequence[Usage]) -> Usage | None:
    """Return the sum of some figures; None of none."""
    return Usage(*map(sum, zip(*map(msgspec.structs.astuple, found), strict=True))) if found else None


class _Details(msgspec.Struct):
    cached_tokens: int = 0


class _TokenCounts(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None


class _Timings(msgspec.Struct):
    cache_n: int = 0
    prompt_n: int = 0
    prompt_ms: float = 0.0
    predicted_n: int = 0
    predicted_ms: float = 0.0


class _Whole(msgspec.Struct):
    usage: _TokenCounts | None = None
    timings: _Timings | None = None


_NO_COUNTS, _NO_TIMINGS = _TokenCounts(), _Timings()
_whole = msgspec.json.Decoder(_Whole)
_usage = msgspec.json.Decoder(_TokenCounts)
_timings = msgspec.json.Decoder(_Timings)


def usage_in(whole: bytes) -> Usage | None:
    """Return how many tokens an answer reports that is here as a whole, as a `Tap` does that it passes."""
    if len(whole) < _PIECE_BYTES:
        return _whole_usage(whole)
    first = whole[:_FIRST_BYTES]
    return read_usage(whole[-_PIECE_BYTES:], first) or read_usage(first)


def _whole_usage(raw: bytes) -> Usage | None:
    """Return the usage in an answer that is here as a whole; JSON is decoded at once."""
    try:
        found = _whole.decode(raw)
    except msgspec.DecodeError:
        return read_usage(raw)
    return _merged(found.usage, found.timings)


def read_usage(raw: bytes, first: bytes = b"") -> Usage | None:
    """Return what the last `usage` and the last `timings` object in some bytes of an answer say.

    Args:
        raw: The last bytes of the answer.
        first: Its first bytes: Anthropic's streams name the tokens of the prompt there only.
    """
    usage, timings = _last(_USAGE, raw, _usage), _last(_TIMINGS, raw, _timings)
    if usage is None and timings is None:
        return read_usage(whole, first) if (whole := _SPLIT.sub(b"", raw)) != raw else None
    if usage is not None and timings is None and usage.prompt_tokens is None and usage.input_tokens is None:
        usage = _with_prompt(usage, first or raw)
    return _merged(usage, timings)


def _with_prompt(usage: _TokenCounts, first: bytes) -> _TokenCounts:
    """Return the tokens of an answer's end with those of the prompt, as its beginning names them."""
    found = _object(first, at + len(_USAGE)) if (at := first.find(_USAGE)) >= 0 else None
    try:
        begun = _usage.decode(found or b"{}")
    except msgspec.DecodeError:
        return usage
    return msgspec.structs.replace(begun, output_tokens=usage.output_tokens)


def _merged(usage: _TokenCounts | None, timings: _Timings | None) -> Usage | None:
    if usage is None and timings is None:
        return None
    counts, spent = usage or _NO_COUNTS, timings or _NO_TIMINGS
    prompt = counts.input_tokens if counts.prompt_tokens is None else counts.prompt_tokens
    cached = counts.cache_read_input_tokens
    if prompt is not None and cached is not None:
        prompt += cached  # Anthropic's input_tokens are those that no cache held
    completion = counts.output_tokens if counts.completion_tokens is None else counts.completion_tokens
    details = counts.prompt_tokens_details or counts.input_tokens_details
    return Usage(
        spent.cache_n + spent.prompt_n if prompt is None else prompt,
        details.cached_tokens if details else spent.cache_n if cached is None else cached,
        spent.predicted_n if completion is None else completion,
        spent.prompt_ms,
        spent.predicted_ms,
    )


def _last(name: bytes, raw: bytes, decoder: msgspec.json.Decoder[_Figures]) -> _Figures | None:
    """Return the last object of that name that is complete."""
    at = raw.rfind(name)
    while at >= 0:
        if (found := _object(raw, at + len(name))) is not None:
            try:
                return decoder.decode(found)
            except msgspec.DecodeError:
                return None
        at = raw.rfind(name, 0, at)
    return None


def _object(raw: bytes, at: int) -> bytes | None:
    """Return the object after a name; its own members hold numbers, or objects of numbers."""
    start = raw.find(b"{", at)
    if start < 0 or raw[at:start].strip() != b":":
        return None
    end = raw.find(b"}", start)
    while end >= 0:
        found = raw[start : end + 1]
        if found.count(b"{") == found.count(b"}"):
            return found
        end = raw.find(b"}", end + 1)
    return None

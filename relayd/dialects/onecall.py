"""How does an answer hold one tool call, where its request allows no more (`parallel_tool_calls: false`)?

The engine was seen to write a second call all the same (b11434); what comes behind the first one is left out.
"""

from typing import Any

import msgspec

from relayd.dialects.collected import CollectedAnswer
from relayd.dialects.events import EventSplitter, data_of
from relayd.errors import UpstreamError

_MARK = b'"tool_calls"'

_chunk = msgspec.json.Decoder(dict[str, Any])
_encode = msgspec.json.Encoder().encode


class OneCallEvents:
    """Leaves further calls out of a stream of chat completion chunks."""

    media_type = "text/event-stream"

    def __init__(self) -> None:
        self._events = EventSplitter()
        self._left_out = 0

    def __repr__(self) -> str:
        return f"<OneCallEvents left_out={self._left_out}>"

    def feed(self, payload: bytes) -> bytes:
        """Take the next bytes and return the events that are complete, without pieces of further calls."""
        kept = map(self._shortened, self._events.feed(payload))
        return b"".join(event + b"\n\n" for event in kept if event)

    def end(self) -> bytes:
        """Return what is left: nothing of a stream that is whole."""
        return b""

    def _shortened(self, event: bytes) -> bytes:
        if _MARK not in event or not (data := data_of(event)):
            return event
        chunk = _read(data)
        choices = chunk.get("choices") or []
        dropped = sum(_keep_first(choice.get("delta")) for choice in choices)
        if not dropped:
            return event
        self._left_out += dropped
        if not chunk.get("usage") and not any(
            one.get("delta") or one.get("finish_reason") for one in choices
        ):
            return b""
        return b"data: " + _encode(chunk)


class OneCallWhole(CollectedAnswer):
    """Leaves further calls out of a chat completion."""

    def end(self) -> bytes:
        """Return the whole answer."""
        whole = self.collected()
        if _MARK not in whole:
            return whole
        answer = _read(whole)
        dropped = sum(_keep_first(choice.get("message")) for choice in answer.get("choices") or [])
        return _encode(answer) if dropped else whole


def _keep_first(message: dict[str, Any] | None) -> int:
    """Leave the first call of a message, or pieces of it; return how many others were taken out."""
    calls = (message or {}).get("tool_calls") or []
    first = [call for place, call in enumerate(calls) if not call.get("index", place)]
    if message is not None and len(first) < len(calls):
        message["tool_calls"] = first
        if not first:
            del message["tool_calls"]
    return len(calls) - len(first)


def _read(data: bytes) -> dict[str, Any]:
    try:
        return _chunk.decode(data)
    except msgspec.DecodeError as error:
        raise UpstreamError("The replica's answer cannot be read.") from error

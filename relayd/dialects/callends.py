"""Are the arguments of a call JSON when they leave, also those that `max_tokens` cut (completed calls)?

A client that cannot parse them ends its turn, or sends them back and ends the conversation. What is missing
is written behind them, before the event that ends the answer; where the engine could not read the end of what
its model wrote, the stream ends there instead of with an error.
"""

from typing import Any

import msgspec

from relayd.dialects.collected import CollectedAnswer
from relayd.dialects.events import EventSplitter, data_of
from relayd.dialects.jsonends import lacking
from relayd.dialects.naming import Rewriting
from relayd.errors import UpstreamError

_CALLS, _FINISH = b'"tool_calls"', b'"finish_reason":"'
_FAILURE = b'data: {"error":'
UNREADABLE = b"The model produced output that does not match"

_chunk = msgspec.json.Decoder(dict[str, Any])
_encode = msgspec.json.Encoder().encode


class CompletedCalls:
    """Completes the calls in a stream of chat completion chunks.

    Args:
        before: Rewrites the stream first; None leaves it as it came.
    """

    media_type = "text/event-stream"

    def __init__(self, before: Rewriting | None = None) -> None:
        self._before = before
        self._events = EventSplitter()
        self._pieces: dict[tuple[int, int], list[str]] = {}
        self._last: dict[str, Any] = {}
        self._passed = 0

    def __repr__(self) -> str:
        return f"<CompletedCalls calls={len(self._pieces)}>"

    def feed(self, payload: bytes) -> bytes:
        """Take the next bytes and return the events that are complete."""
        if self._before is not None:
            payload = self._before.feed(payload)
        return b"".join(map(self._shown, self._events.feed(payload)))

    def end(self) -> bytes:
        """Return what is left: nothing of a stream that is whole."""
        return b"" if self._before is None else self._before.end()

    def _shown(self, event: bytes) -> bytes:
        if _CALLS in event:
            self._take(_read(data_of(event)))
        elif event.startswith(_FAILURE) and UNREADABLE in event and self._passed > 1:
            return self._ended()
        self._passed += 1
        if self._pieces and _FINISH in event:
            return self._endings() + event + b"\n\n"
        return event + b"\n\n"

    def _take(self, chunk: dict[str, Any]) -> None:
        self._last = {name: value for name, value in chunk.items() if name in _OF_EVERY_CHUNK}
        for choice in chunk.get("choices") or ():
            for call in (choice.get("delta") or {}).get("tool_calls") or ():
                place = (choice.get("index") or 0, call.get("index") or 0)
                text = (call.get("function") or {}).get("arguments") or ""
                self._pieces.setdefault(place, []).append(text)

    def _endings(self) -> bytes:
        """Return an event for each call whose arguments are not JSON yet."""
        events = []
        for (choice, call), pieces in self._pieces.items():
            if ending := lacking(pieces):
                delta = {"tool_calls": [{"index": call, "function": {"arguments": ending}}]}
                events.append({"finish_reason": None, "index": choice, "delta": delta})
        self._pieces.clear()
        return b"".join(b"data: %b\n\n" % _encode({"choices": [one], **self._last}) for one in events)

    def _ended(self) -> bytes:
        """Return the end of a stream whose last part could not be read."""
        reason = "tool_calls" if self._pieces else "stop"
        last = {"choices": [{"finish_reason": reason, "index": 0, "delta": {}}], **self._last}
        last.setdefault("object", "chat.completion.chunk")
        comment = b": relayd: the end of this answer could not be read\n\n"
        return self._endings() + comment + b"data: %b\n\ndata: [DONE]\n\n" % _encode(last)


_OF_EVERY_CHUNK = frozenset({"created", "id", "model", "system_fingerprint", "object"})


class CompletedCallsWhole(CollectedAnswer):
    """Completes the calls in a chat completion.

    Args:
        before: Rewrites the answer first; None leaves it as it came.
    """

    def __init__(self, before: Rewriting | None = None) -> None:
        super().__init__()
        self._before = before

    def end(self) -> bytes:
        """Return the whole answer."""
        whole = self.collected()
        if self._before is not None:
            whole = self._before.feed(whole) + self._before.end()
        if _CALLS not in whole:
            return whole
        answer, changed = _read(whole), False
        for choice in answer.get("choices") or ():
            for call in (choice.get("message") or {}).get("tool_calls") or ():
                function = call.get("function") or {}
                if ending := lacking((function.get("arguments") or "",)):
                    function["arguments"] = f"{function.get('arguments') or ''}{ending}"
                    changed = True
        return _encode(answer) if changed else whole


def _read(data: bytes) -> dict[str, Any]:
    try:
        return _chunk.decode(data)
    except msgspec.DecodeError as error:
        raise UpstreamError("The replica's answer cannot be read.") from error

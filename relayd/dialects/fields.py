"""How are the tokens of an answer counted whose client asks for some of its members (`response_fields`)?

llama.cpp's own completions then hold those members alone, so that nothing states what they took. The engine
is asked for `timings` as well, which are taken out again.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from relayd.dialects.collected import CollectedAnswer
from relayd.dialects.events import EventSplitter, data_of

_FIELDS, _TIMINGS = "response_fields", "timings"
_NAMED = b'"timings"'

_texts = msgspec.json.Decoder(list[str])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


def with_timings(members: Mapping[str, msgspec.Raw]) -> dict[str, msgspec.Raw] | None:
    """Return the members of a request whose answer states what it took; None where it does anyway."""
    if (asked := members.get(_FIELDS)) is None:
        return None
    try:
        fields = _texts.decode(asked)
    except msgspec.DecodeError:
        return None  # the engine refuses it, or takes no notice
    if not fields or _TIMINGS in fields:
        return None
    return {**members, _FIELDS: msgspec.Raw(msgspec.json.encode([*fields, _TIMINGS]))}


def _without(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != _TIMINGS}


class WithoutTimings(CollectedAnswer):
    """Takes the timings out of an answer that comes as a whole: an object, or a list of them."""

    def end(self) -> bytes:
        """Return the whole answer."""
        whole = self.collected()
        if _NAMED not in whole:
            return whole
        if whole.lstrip().startswith(b"["):
            return msgspec.json.encode([_without(one) for one in _objects.decode(whole)])
        return msgspec.json.encode(_without(_object.decode(whole)))


class EventsWithoutTimings:
    """Takes them out of the last event of a stream, or of each of its prompts."""

    media_type = "text/event-stream"

    def __init__(self) -> None:
        self._events = EventSplitter()

    def __repr__(self) -> str:
        return f"<EventsWithoutTimings {self._events!r}>"

    def feed(self, payload: bytes) -> bytes:
        """Take the next bytes and return the events that are complete."""
        return b"".join(self._shown(event) + b"\n\n" for event in self._events.feed(payload))

    def end(self) -> bytes:
        """Return what is left: nothing of a stream that is whole."""
        return b""

    def _shown(self, event: bytes) -> bytes:
        if _NAMED not in event:
            return event
        return b"data: " + msgspec.json.encode(_without(_object.decode(data_of(event))))

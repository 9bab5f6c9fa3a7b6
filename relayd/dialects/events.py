"""Where do server-sent events begin and end in the pieces of a stream?"""

_END = b"\n\n"


class EventSplitter:
    """Cuts a stream into its events, whatever pieces it comes in."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun = b""

    def __repr__(self) -> str:
        return f"<EventSplitter begun={len(self._begun)}>"

    def feed(self, payload: bytes) -> list[bytes]:
        """Take the next bytes and return the events that they complete, without their empty lines."""
        *events, self._begun = (self._begun + payload if self._begun else payload).split(_END)
        return events

    @property
    def is_inside(self) -> bool:
        """Whether an event has begun and is not complete."""
        return bool(self._begun)


def data_of(event: bytes) -> bytes:
    """Return what an event carries; empty for a comment."""
    at = event.find(b"data: ")
    if at < 0 or (at and event[at - 1 : at] != b"\n"):
        return b""
    return event[at + 6 :]


def named_event(name: str, payload: bytes) -> bytes:
    """Return an event with a name."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), payload)

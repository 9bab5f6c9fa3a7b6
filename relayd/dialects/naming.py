"""How does an answer get the id that a client gave its request, in place of the engine's own?

Only where that is configured: most answers pass as they came.
"""

import re
from typing import Protocol

import msgspec

from relayd.dialects.collected import CollectedAnswer
from relayd.dialects.events import EventSplitter


class Rewriting(Protocol):
    """Rewrites an answer before it gets its id."""

    def feed(self, payload: bytes) -> bytes:
        """Take the next bytes and return what can be written."""
        ...

    def end(self) -> bytes:
        """Return what is left to write."""
        ...


_ID = re.compile(rb'"id":"((?:chat)?cmpl-[A-Za-z0-9]+)"')
"""The id of an answer; quotes inside of a text are escaped, so none of these is the model's."""


def _member(name: str) -> bytes:
    return b'"id":' + msgspec.json.encode(name)


class NamedEvents:
    """Rewrites the id in each event of a stream.

    Args:
        name: The client's id.
        before: What else is rewritten, event by event.
    """

    media_type = "text/event-stream"

    def __init__(self, name: str, before: Rewriting | None = None) -> None:
        self._before = before
        self._member = _member(name)
        self._engines = b""
        self._events = EventSplitter()

    def __repr__(self) -> str:
        return f"<NamedEvents {self._member!r} for {self._engines!r}>"

    def feed(self, payload: bytes) -> bytes:
        """Take the next bytes and return the events that are complete."""
        if self._before is not None:
            payload = self._before.feed(payload)
        events = self._events.feed(payload)
        if not events:
            return b""
        whole = b"\n\n".join(events) + b"\n\n"
        if not self._engines and (found := _ID.search(whole)):
            self._engines = found[0]
        return whole.replace(self._engines, self._member) if self._engines else whole

    def end(self) -> bytes:
        """Return what is left: nothing of a stream that is whole."""
        return b""


class NamedWhole(CollectedAnswer):
    """Rewrites the id of an answer that comes as a whole.

    Args:
        name: The client's id.
        before: What else is rewritten.
    """

    def __init__(self, name: str, before: Rewriting | None = None) -> None:
        super().__init__()
        self._before = before
        self._member = _member(name)

    def end(self) -> bytes:
        """Return the whole answer."""
        whole = self.collected()
        if self._before is not None:
            whole = self._before.feed(whole) + self._before.end()
        found = _ID.search(whole)
        return whole.replace(found[0], self._member, 1) if found else whole

"""How does one API write errors, events and answers (dialect)?

A door is its routes and one of these values. Router and door write nothing to a client that does
not come from here, so a second API is a second value in a file of its own.
"""

import re
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from relayd.errors import ContextExceededError, RelaydError, RequestError, UpstreamError

CUT = UpstreamError("The replica failed in the middle of this answer; what came before is incomplete.")
"""What a client reads whose answer its replica did not finish."""


_LONGEST_MESSAGE = 1000
"""Characters of an engine's message that a client gets: some repeat a whole request."""

_BEGUN = re.compile(rb'\{"error":\{[^{}]{0,40}"message":"((?:[^"\\]|\\.){1,1000})')
"""The beginning of an engine's error that is longer than what is read of it (256 KiB)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request failed, before any API has given it a shape.

    Attributes:
        status: HTTP status.
        code: Stable word for programs.
        message: For people; it ends with the remedy, if there is one.
        param: The member of the body at fault, if one is.
        kind: The engine's own type of error; empty when relayd refused.
        details: What else the engine reports, like how many tokens were too many.
    """

    status: int
    code: str
    message: str
    param: str | None = None
    kind: str = ""
    details: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, error: RelaydError) -> "Problem":
        """Return what a client may read of `error`."""
        message = " ".join(filter(None, (error.message, error.remedy)))
        param = error.param if isinstance(error, RequestError) else None
        kind = error.code if isinstance(error, ContextExceededError) else ""
        return cls(error.http_status, error.code, message, param, kind)

    @classmethod
    def of_engine(cls, status: int, payload: bytes) -> "Problem":
        """Return what the engine answered instead of a success.

        Raises:
            UpstreamError: The body has not the engine's shape.
        """
        try:
            error = msgspec.json.decode(payload, type=dict[str, dict[str, object]])["error"]
        except (msgspec.DecodeError, KeyError) as fault:
            if not (begun := _BEGUN.match(payload)):
                raise UpstreamError(f"The replica answered {status} without saying why.") from fault
            error = {"message": begun[1].decode("utf-8", "replace")}
        kind, message = error.pop("type", None), error.pop("message", None)
        error.pop("code", None)
        kind = kind if isinstance(kind, str) else ""
        message = _shortened(message) if isinstance(message, str) else ""
        return cls(status, kind, message, kind=kind, details=error)


def _shortened(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]} …"


class Translation(Protocol):
    """Rewrites one answer of the engine, stripped of its HTTP framing, for a client of another API."""

    media_type: str

    def feed(self, payload: bytes) -> bytes:
        """Take the next bytes of the engine's body and return what can be written now."""
        ...

    def end(self) -> bytes:
        """Return what is left to write after the last byte."""
        ...


def as_it_came(*, stream: bool) -> Translation | None:  # noqa: ARG001 - the name is the protocol's
    """Rewrite nothing."""
    return None


class Translator(Protocol):
    """Makes the translation of one answer."""

    def __call__(self, *, stream: bool) -> Translation | None:
        """Return how an answer is rewritten; None passes the engine's own bytes on."""
        ...


class ShowLimit(Protocol):
    """Adds to the head of an answer what is left of a limit, as the clients of one API read it."""

    def __call__(
        self, fields: MutableMapping[str, str], what: str, limit: int, left: int, resets_at: float
    ) -> None:
        """Add the fields of one limit.

        Args:
            fields: Of the answer.
            what: `requests` or `tokens`, of a minute.
            limit: How many there may be.
            left: How many are left.
            resets_at: When all of them are (seconds since 1970).
        """
        ...


class Dialect(msgspec.Struct, frozen=True):
    """One API; a struct, as each translated answer has one of its own.

    Attributes:
        name: Its name, for logs.
        error_body: Makes the JSON body of an error response.
        error_event: Makes the event that ends a stream which cannot be finished, delimiters included.
        event_end: What every event of a stream ends with.
        last_event: What a complete stream ends with; empty when nothing marks its end.
        translation: How the engine's answers are rewritten.
        by_line: Each line of a translated answer is a write of its own.
        show_limit: How limits are shown besides `x-ratelimit-*`.
        ends_aside: The end of a long answer is made in a thread: its translation touches nothing else.
        refused_within: Codes of what a stream is refused for by an event of its own, behind a status of 200.
    """

    name: str
    error_body: Callable[[Problem], bytes]
    error_event: Callable[[Problem], bytes]
    event_end: bytes = b"\n\n"
    last_event: bytes = b""
    translation: Translator = as_it_came
    by_line: bool = False
    show_limit: ShowLimit | None = None
    ends_aside: bool = False
    refused_within: frozenset[str] = frozenset()

    def answering(self, translation: Translation, **changes: Any) -> "Dialect":
        """Return the dialect of one answer, which a translation of its own rewrites."""

        def one(*, stream: bool) -> Translation:  # noqa: ARG001 - the name is the protocol's
            return translation

        return msgspec.structs.replace(self, translation=one, **changes) if changes else self.written_by(one)

    def written_by(self, translator: Translator) -> "Dialect":
        """Return the dialect of answers that a translator of their own rewrites."""
        return Dialect(  # by position, at half the cost: many doors have one for each request
            self.name, self.error_body, self.error_event, self.event_end, self.last_event, translator,
            self.by_line, self.show_limit,
        )  # fmt: skip

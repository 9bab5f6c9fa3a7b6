"""What happened to one request, from its arrival to its end (its outcome, times and token usage).

The router makes the value once for each request; scheduler, request log and everything else that
looks at a finished request read this one. It holds no text and no key, so it may be logged and sent.
"""

from enum import Enum

import msgspec

from relayd.scheduler.ask import Ask


class Ended(Enum):
    """How a request ended."""

    DONE = "done"
    """Its answer was complete."""
    REFUSED = "refused"
    """Its client got an error instead of an answer."""
    CUT = "cut"
    """Its replica failed after the first byte had been sent."""
    CANCELLED = "cancelled"
    """Its client left, or stopped reading, before the answer was complete."""
    CONTINUED = "continued"
    """Its answer was complete, and more than one replica gave it."""


_COMPLETE = (Ended.DONE, Ended.CONTINUED)  # a set asks each for its hash, which is written in Python


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens and engine time of one request, as the engine reports them.

    Attributes:
        prompt_tokens: Tokens of the prompt, those found in the cache included.
        cached_tokens: Tokens of the prompt that were in the cache already.
        completion_tokens: Tokens that were generated.
        prompt_ms: Milliseconds the engine spent on the prompt; 0 when it did not report them.
        completion_ms: Milliseconds it spent on the tokens that it generated.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    prompt_ms: float = 0.0
    completion_ms: float = 0.0


class Exchange(msgspec.Struct, frozen=True, gc=False):
    """One request and its outcome; times are monotonic seconds, None for what never happened.

    Attributes:
        ask: What the scheduler weighed.
        request_id: The `X-Request-ID` of the answer.
        path: The route's path.
        ended: How it ended.
        status: HTTP status of the answer; 0 when none was sent.
        code: The `code` of the error that its client got; empty without one.
        replica: The replica that was tried last; empty when none was.
        incarnation: Its incarnation.
        attempts: Replicas that got the request.
        arrived_at: When its head had been read.
        queued_at: When it asked for a slot, its body read.
        placed_at: When it got the slot that it ended on.
        first_byte_at: When its answer began.
        ended_at: When it was over.
        sent_bytes: Bytes of a replica's answer that were written to the client, response head included; 0
            for a refusal.
        usage: Tokens; None when the answer names none.
        continued: How often another replica continued the answer.
        first_placed_at: When it got its first slot, where it was tried again on another.
    """

    ask: Ask
    request_id: str = ""
    path: str = ""
    ended: Ended = Ended.DONE
    status: int = 0
    code: str = ""
    replica: str = ""
    incarnation: int = 0
    attempts: int = 0
    arrived_at: float = 0.0
    queued_at: float | None = None
    placed_at: float | None = None
    first_byte_at: float | None = None
    ended_at: float = 0.0
    sent_bytes: int = 0
    usage: Usage | None = None
    continued: int = 0
    first_placed_at: float | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the client got a whole answer."""
        return self.ended in _COMPLETE

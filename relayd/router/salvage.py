"""What does a client get where the engine could not read what its model wrote (salvage)?

A second attempt first, as a model seldom errs twice; then the same prompt is completed without the form of
its template, and the text is the answer.
"""

from typing import Protocol

import msgspec

from relayd.errors import UpstreamError
from relayd.router.attempts import Attempts, Reply
from relayd.router.collectors import NativeCollector
from relayd.router.dialect import Dialect
from relayd.router.early import EVENT_STREAM
from relayd.router.faults import Fault, judge
from relayd.router.headers import Call
from relayd.router.lease import Lease
from relayd.router.pool import Pools
from relayd.router.usage import read_usage

_RENDER_SECONDS = 10.0


class Salvaged(msgspec.Struct, frozen=True):
    """An answer that was made of what a model wrote.

    Attributes:
        body: As the engine would have written it.
        change: What the client should know.
    """

    body: bytes
    change: str


class PlainText(Protocol):
    """Makes text of an answer whose format cannot be read."""

    def rendering(self, call: Call) -> Call | None:
        """Return the call for the prompt of a request; None where its answer cannot be text."""
        ...

    def completion(self, call: Call, rendered: bytes) -> Call | None:
        """Return the call that completes a rendered prompt."""
        ...

    def answer(self, call: Call, model: str, completed: bytes) -> Salvaged:
        """Return the answer to a request in the engine's own form.

        Raises:
            msgspec.DecodeError: The completion is none.
        """
        ...


def could_not_be_read(reply: Reply) -> bool:
    """Return whether the engine gave up on what its model wrote."""
    return reply.problem is not None and judge(reply.problem) is Fault.ANSWER


async def salvaged(
    text: PlainText, attempts: Attempts, pools: Pools, reply: Reply, call: Call, lease: Lease
) -> tuple[Reply, Salvaged | None]:
    """Return the reply that is over, and what became of it; None where nothing did."""
    if (rendering := text.rendering(call)) is None:
        return reply, None
    try:
        found = await pools.fetch(reply.endpoint, rendering, timeout_seconds=_RENDER_SECONDS)
    except (OSError, UpstreamError):
        return reply, None
    if found.status != 200 or (completion := text.completion(call, found.body)) is None:
        return reply, None
    problem = reply.problem
    reply.release()
    asked = msgspec.structs.replace(completion, stream=True, collector=NativeCollector)
    reply = await attempts.begin(asked, lease)
    whole = reply.whole() if reply.problem is None else b""
    lease.record.usage = read_usage(whole)
    try:
        return reply, text.answer(call, lease.model, whole)
    except msgspec.DecodeError:
        reply.problem = problem
        return reply, None


def translated(salvage: Salvaged, dialect: Dialect, *, stream: bool) -> tuple[bytes, str]:
    """Return the body of an answer for its client, and its content type."""
    translation = dialect.translation(stream=stream)
    if translation is None:
        return salvage.body, EVENT_STREAM if stream else "application/json"
    return translation.feed(salvage.body) + translation.end(), translation.media_type


class NoText:
    """Makes no text of anything."""

    def rendering(self, _call: Call) -> Call | None:
        """Return none."""
        return None

    def completion(self, _call: Call, _rendered: bytes) -> Call | None:
        """Return none."""
        return None

    def answer(self, _call: Call, _model: str, _completed: bytes) -> Salvaged:
        """Return nothing."""
        return Salvaged(b"", "")


NO_TEXT = NoText()

"""What is the engine asked for that a client did not ask for (additions to a request)?

A stream instead of a plain answer, so that the engine notices at once when the client has left. And the
progress of a long prompt, so that it notices it at the end of each batch of the prompt.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec

from relayd.router.collect import Collector
from relayd.router.collectors import ChatCollector, NativeCollector, TextCollector
from relayd.router.headers import Call
from relayd.router.message_collector import MessageCollector

_LONG_BYTES = 1024
"""A body from which on a prompt may take a second batch (`-b 512`), at 2 bytes a token."""

_PLAIN_ONLY = frozenset({
    "logprobs", "n_indent", "n_probs", "response_fields", "return_tokens", "top_logprobs", "verbose",
})  # fmt: skip
"""Members whose answer a stream does not hold (b11434): the ids and probabilities of a character's first
tokens, of a chat's last one and of a stop string; lines that are cut off again; what is about the stream."""

_UNSET = (b"false", b"null", b"0", b"[]")
_PROGRESS = b',"return_progress":true'


@dataclass(frozen=True, slots=True)
class Additions:
    """What is added to one request.

    Attributes:
        members: Written behind the last member of its body: the engine takes the last one of a name.
        collector: Makes a plain answer of the stream that is asked for; None passes the answer on.
        hides_progress: The client did not ask for the events that state how far the prompt is.
    """

    members: bytes = b""
    collector: Callable[[], Collector] | None = None
    hides_progress: bool = False

    def added_to(self, body: bytes) -> bytes:
        """Return a body, an object that is not empty, with these members as well."""
        return b"".join((memoryview(body.rstrip())[:-1], self.members, b"}"))

    def with_progress(self) -> "Additions":
        """Return these, and that the progress of the prompt is asked for."""
        return replace(self, members=self.members + _PROGRESS, hides_progress=True)


_OF_LONG_STREAM = Additions().with_progress()


def _forms(members: bytes, collector: Callable[[], Collector]) -> tuple[Additions, Additions]:
    """Return what is added for a short prompt, and for a long one."""
    short = Additions(members, collector)
    return short, short.with_progress()


# A plain chat begins with the text that it continues, a streamed one only where `echo` asks for it.
_CHAT = _forms(b',"stream":true,"stream_options":{"include_usage":true},"echo":true', ChatCollector)
_NATIVE = _forms(b',"stream":true', NativeCollector)

_OF_PLAIN: Mapping[str, tuple[Additions, Additions]] = {
    "/v1/chat/completions": _CHAT,
    "/chat/completions": _CHAT,
    "/v1/completions": _forms(b',"stream":true', TextCollector),
    "/completions": _NATIVE,
    "/completion": _NATIVE,
    "/infill": _NATIVE,
    "/v1/messages": _forms(b',"stream":true', MessageCollector),
}
"""Paths of the engine that can be asked for a stream."""


def with_additions(call: Call, members: Mapping[str, msgspec.Raw], width: int) -> Call:
    """Return what a replica gets for a call that is as its client wants it.

    Args:
        call: As the engine could carry it out.
        members: Of the body as the client wrote it; where that was rewritten for the engine, names stayed.
        width: Slots that the request takes.
    """
    body = call.body
    if width != 1 or not members or (of_plain := _OF_PLAIN.get(call.path)) is None:
        return call
    is_long = len(body) >= _LONG_BYTES
    if call.stream:
        if not is_long or "return_progress" in members:
            return call
        added = _OF_LONG_STREAM
    elif _is_collectable(members):
        added = of_plain[is_long]
    else:
        return call
    return Call(
        call.path,
        added.added_to(body),
        stream=True,
        collector=added.collector,
        hides_progress=added.hides_progress,
    )


def _is_collectable(members: Mapping[str, msgspec.Raw]) -> bool:
    if _PLAIN_ONLY.isdisjoint(members):
        return True
    return all(bytes(members[name]) in _UNSET for name in _PLAIN_ONLY & members.keys())

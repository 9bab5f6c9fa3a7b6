"""What of a stream does the engine get wrong that a plain answer, or another request, has right (mending)?

Two things (b11434). It reads what the model writes anew with each token, and where a call of a tool turns out
to be none the stream ends with "Invalid diff"; a plain answer is read once. And a message whose first token
is half a character has no `message_start`: neither id nor model nor the tokens of its prompt.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping

import msgspec

from relayd.endpoint import Endpoint
from relayd.errors import UpstreamError
from relayd.router.dialect import Problem
from relayd.router.headers import Call, Head
from relayd.router.pool import Pools

_UNREADABLE = "Invalid diff: "
"""How the engine's own reader of a stream gives up (common/chat.cpp)."""

MESSAGES, _COUNT = "/v1/messages", "/v1/messages/count_tokens"
_FIRST_BYTES = 256
_COUNT_SECONDS = 5.0

_encode = msgspec.json.Encoder().encode

Again = Callable[[Call, Problem], Iterable[tuple[Call, str]]]
"""Returns what may be tried instead of a call that was refused, one after another, and what each changes."""

CHANGED = "X-Relayd-Changed"
"""The header field that states what of a request was changed."""


def nothing_else(_call: Call, _problem: Problem) -> tuple[tuple[Call, str], ...]:
    """Try nothing instead."""
    return ()


def with_change(headers: Mapping[str, str], change: str) -> Mapping[str, str]:
    """Return header fields that also state a change."""
    if not change:
        return headers
    known = headers.get(CHANGED)
    return {**headers, CHANGED: f"{known}; {change}" if known else change}


class _CountedPrompt(msgspec.Struct):
    input_tokens: int = 0


def is_unreadable(problem: Problem) -> bool:
    """Return whether a stream ended because the engine could not read what its model wrote token by token."""
    return problem.message.startswith(_UNREADABLE)


def plain(call: Call) -> Call:
    """Return a call whose answer is collected from a stream as one that is answered as a whole."""
    body = b'%b,"stream":false}' % call.body.rstrip()[:-1]  # the engine takes the last member of a name
    return msgspec.structs.replace(call, body=body, stream=False, collector=None, hides_progress=False)


def lacks_start(head: Head, first: bytes) -> bool:
    """Return whether a message has begun without `message_start`.

    Args:
        head: Of the stream.
        first: Its first bytes, framing included.
    """
    return head.is_event_stream and b"event: content_block_start" in first[:_FIRST_BYTES]


async def start_of_message(pools: Pools, endpoint: Endpoint, call: Call, model: str) -> bytes:
    """Return the chunk with the `message_start` that the engine left out; counting takes no slot.

    Args:
        pools: Connections to replicas.
        endpoint: Who answers the call.
        call: What was asked for.
        model: Its name.
    """
    count = Call(_COUNT, call.body)
    try:
        found = await pools.fetch(endpoint, count, timeout_seconds=_COUNT_SECONDS)
        tokens = msgspec.json.decode(found.body, type=_CountedPrompt).input_tokens
    except (OSError, UpstreamError, msgspec.DecodeError):
        tokens = 0  # what is known is better than no beginning
    message: dict[str, object] = {
        "id": f"chatcmpl-{secrets.token_hex(16)}",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": model,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"cache_read_input_tokens": 0, "input_tokens": tokens, "output_tokens": 0},
    }
    event = b"event: message_start\ndata: %b\n\n" % _encode({"type": "message_start", "message": message})
    return b"%x\r\n%b\r\n" % (len(event), event)

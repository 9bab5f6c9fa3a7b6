"""Answers of llama-server b11434, recorded and shortened."""

import json


def _stream(*events: tuple[str, dict[str, object]]) -> bytes:
    return b"".join(
        f"event: {name}\ndata: {json.dumps({'type': name, **data}, separators=(',', ':'))}\n\n".encode()
        for name, data in events
    )


_BEGIN: dict[str, object] = {
    "message": {
        "id": "chatcmpl-Zqf", "type": "message", "role": "assistant", "content": [], "model": "chain.gguf",
        "stop_reason": None, "stop_sequence": None,
        "usage": {"cache_read_input_tokens": 0, "input_tokens": 26, "output_tokens": 0},
    }
}  # fmt: skip


def _delta(index: int, kind: str, member: str, value: str) -> tuple[str, dict[str, object]]:
    return "content_block_delta", {"index": index, "delta": {"type": kind, member: value}}


def _end(reason: str) -> tuple[str, dict[str, object]]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return "message_delta", {"delta": delta, "usage": {"output_tokens": 9}}


_TOOL_USE = {"type": "tool_use", "id": "5XmQ", "name": "get_weather"}

MESSAGE_THOUGHT = _stream(
    ("message_start", _BEGIN),
    ("content_block_start", {"index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
    _delta(0, "thinking_delta", "thinking", "I am"),
    _delta(0, "thinking_delta", "thinking", " thinking"),
    ("content_block_start", {"index": 1, "content_block": {"type": "text", "text": ""}}),
    _delta(1, "text_delta", "text", "All"),
    _delta(1, "text_delta", "text", " done"),
    _delta(0, "signature_delta", "signature", ""),
    ("content_block_stop", {"index": 0}),
    ("content_block_stop", {"index": 1}),
    (
        "message_delta",
        {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 9}},
    ),
    ("message_stop", {}),
)
"""Reasoning, then text, on `/v1/messages`."""

MESSAGE_CALL = _stream(
    ("message_start", _BEGIN),
    (
        "content_block_start",
        {"index": 0, "content_block": _TOOL_USE},
    ),
    _delta(0, "input_json_delta", "partial_json", "{"),
    _delta(0, "input_json_delta", "partial_json", '"city":'),
    _delta(0, "input_json_delta", "partial_json", ' "Paris"}'),
    ("content_block_stop", {"index": 0}),
    (
        "message_delta",
        {"delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 5}},
    ),
    ("message_stop", {}),
)
"""A call of a tool on `/v1/messages`."""


def _chunk(delta: dict[str, object] | None, reason: str | None = None, **more: object) -> bytes:
    choices = [] if delta is None else [{"finish_reason": reason, "index": 0, "delta": delta}]
    chunk = {"choices": choices, "created": 1, "id": "chatcmpl-Vu5", "model": "chain.gguf", **more}
    return b"data: %b\n\n" % json.dumps(chunk, separators=(",", ":")).encode()


_USAGE = {
    "completion_tokens": 8, "prompt_tokens": 26, "total_tokens": 34,
    "prompt_tokens_details": {"cached_tokens": 7},
}  # fmt: skip
_ROLE = _chunk({"role": "assistant", "content": None})
_END = _chunk(None, usage=_USAGE, timings={"cache_n": 7}) + b"data: [DONE]\n\n"

CHAT_THOUGHT = (
    _ROLE
    + _chunk({"reasoning_content": "I am"})
    + _chunk({"reasoning_content": " thinking"})
    + _chunk({"content": "All"})
    + _chunk({"content": " done"})
    + _chunk({}, "stop")
    + _END
)
"""Reasoning, then text, on `/v1/chat/completions`."""


def chat_call(*calls: tuple[str, str, tuple[str, ...]], cut: bool = False) -> bytes:
    """Return a stream with calls of tools: id, name, and the pieces of the arguments."""
    pieces = []
    for index, (call_id, name, arguments) in enumerate(calls):
        begun = {"name": name, "arguments": arguments[0]}
        pieces.append({"index": index, "id": call_id, "type": "function", "function": begun})
        pieces += [{"index": index, "function": {"arguments": more}} for more in arguments[1:]]
    streamed = b"".join(_chunk({"tool_calls": [piece]}) for piece in pieces)
    return _ROLE + streamed + _chunk({}, "length" if cut else "tool_calls") + _END


CHAT_CALL = chat_call(("5XmQ", "get_weather", ("{", '"city":', ' "Paris"}')))
"""A call of a tool on `/v1/chat/completions`."""


def chat_text(*pieces: str, reason: str = "stop") -> bytes:
    """Return a stream of text."""
    return _ROLE + b"".join(_chunk({"content": piece}) for piece in pieces) + _chunk({}, reason) + _END


def chat_whole(*, text: str, reasoning: str = "", arguments: str = "", reason: str = "stop") -> bytes:
    """Return an answer that was not streamed."""
    message: dict[str, object] = {"role": "assistant", "content": text}
    if reasoning:
        message["reasoning_content"] = reasoning
    if arguments:
        message["tool_calls"] = [
            {"type": "function", "function": {"name": "f", "arguments": arguments}, "id": "c1"}
        ]
    usage = {
        "completion_tokens": 3, "prompt_tokens": 7, "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 2},
    }  # fmt: skip
    choices = [{"finish_reason": reason, "index": 0, "message": message}]
    return json.dumps({"choices": choices, "model": "chain.gguf", "usage": usage}).encode()

"""How does what a model wrote become an answer, where the engine cannot read its format (plain text)?

The engine answers 500 and throws the text away, when what was written is not in the form of its template. The
same prompt is completed without any form instead, and the text is the answer.
"""

from typing import Any

import msgspec

from relayd.dialects.conversation import CHATS, MESSAGES, chat_of
from relayd.dialects.events import named_event
from relayd.errors import RequestError

COMPLETION = "/completion"
RENDERING = "/apply-template"

NOTE = "answer: as text, since its format could not be read"

_NOT_OF_TEXT = frozenset({
    "chat_template_kwargs", "echo", "max_completion_tokens", "max_tokens", "messages", "model", "n",
    "output_config", "parallel_tool_calls", "reasoning_effort", "reasoning_format", "response_format",
    "return_progress", "stop_sequences", "stream", "stream_options", "system", "thinking", "tool_choice",
    "tools",
})  # fmt: skip
"""Members of a chat that a completion has not, or under another name."""

_RENDERED = frozenset({
    "chat_template_kwargs", "messages", "reasoning_effort", "tools", "tool_choice", "parallel_tool_calls",
})  # fmt: skip

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


class _PromptText(msgspec.Struct, gc=False):
    prompt: str = ""


class _TextTimings(msgspec.Struct, frozen=True, gc=False):
    cache_n: int = 0
    prompt_n: int = 0
    predicted_n: int = 0


class _CompletedText(msgspec.Struct, gc=False):
    content: str = ""
    stop_type: str = ""
    timings: _TextTimings = _TextTimings()


_prompt = msgspec.json.Decoder(_PromptText)
_completed = msgspec.json.Decoder(_CompletedText)


def rendering_of(path: str, body: bytes) -> bytes | None:
    """Return the request for the prompt of a conversation; None where it holds more than text."""
    if path not in CHATS | MESSAGES or b'"image' in body or b'"input_audio"' in body:
        return None
    try:
        members = _members.decode(body)
        messages = chat_of(members, is_message=path in MESSAGES)
    except (msgspec.DecodeError, RequestError, TypeError, KeyError, AttributeError):
        return None
    asked: dict[str, Any] = {name: raw for name, raw in members.items() if name in _RENDERED}
    if path in MESSAGES:
        asked.pop("tool_choice", None)
        asked.pop("tools", None)
    return _encode({**asked, "messages": messages})


def completion_of(body: bytes, rendered: bytes) -> bytes | None:
    """Return the request for a completion of a rendered prompt, sampled as the chat was to be."""
    try:
        members, prompt = _members.decode(body), _prompt.decode(rendered).prompt
    except msgspec.DecodeError:
        return None
    if not prompt:
        return None
    asked: dict[str, Any] = {name: raw for name, raw in members.items() if name not in _NOT_OF_TEXT}
    for name in ("max_completion_tokens", "max_tokens"):
        if bytes(members.get(name, b"null")) != b"null":
            asked["n_predict"] = members[name]
    if "stop_sequences" in members:
        asked["stop"] = members["stop_sequences"]
    return _encode({**asked, "prompt": prompt, "stream": True})


def answer_of(path: str, model: str, completed: bytes, created: int, *, stream: bool) -> bytes:
    """Return the answer that the engine would give to a chat or a message if it wrote nothing but this text.

    Raises:
        msgspec.DecodeError: It cannot be read.
    """
    found = _completed.decode(completed)
    is_cut = found.stop_type == "limit"
    if path in MESSAGES:
        return _message(model, found, created, "max_tokens" if is_cut else "end_turn", stream=stream)
    return _chat(model, found, created, "length" if is_cut else "stop", stream=stream)


def _chat(model: str, found: _CompletedText, created: int, reason: str, *, stream: bool) -> bytes:
    spent = found.timings
    prompt = spent.cache_n + spent.prompt_n
    usage = {
        "completion_tokens": spent.predicted_n, "prompt_tokens": prompt,
        "total_tokens": prompt + spent.predicted_n,
        "prompt_tokens_details": {"cached_tokens": spent.cache_n},
    }  # fmt: skip
    head = {"created": created, "id": f"chatcmpl-text{created}", "model": model}
    if not stream:
        choice = {"finish_reason": reason, "index": 0,
                  "message": {"role": "assistant", "content": found.content}}  # fmt: skip
        return _encode({"choices": [choice], **head, "object": "chat.completion", "usage": usage})
    chunk = {**head, "object": "chat.completion.chunk"}
    deltas: list[tuple[dict[str, object], str | None]] = [
        ({"role": "assistant", "content": None}, None), ({"content": found.content}, None), ({}, reason),
    ]  # fmt: skip
    events = [
        {"choices": [{"finish_reason": end, "index": 0, "delta": delta}], **chunk} for delta, end in deltas
    ]
    last = {"choices": [], **chunk, "usage": usage}
    return b"".join(b"data: %b\n\n" % _encode(one) for one in (*events, last)) + b"data: [DONE]\n\n"


def _message(model: str, found: _CompletedText, created: int, reason: str, *, stream: bool) -> bytes:
    spent = found.timings
    usage = {"cache_read_input_tokens": spent.cache_n, "input_tokens": spent.prompt_n}
    end = {"stop_reason": reason, "stop_sequence": None}
    head = {"id": f"chatcmpl-text{created}", "type": "message", "role": "assistant", "model": model}
    if not stream:
        content = [{"type": "text", "text": found.content}]
        return _encode({**head, "content": content, **end,
                        "usage": {**usage, "output_tokens": spent.predicted_n}})  # fmt: skip
    unset = {"stop_reason": None, "stop_sequence": None}
    begun: dict[str, object] = {**head, "content": [], **unset, "usage": {**usage, "output_tokens": 0}}
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": found.content}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": {"output_tokens": spent.predicted_n}},
        {"type": "message_stop"},
    ]
    return b"".join(named_event(str(one["type"]), _encode(one)) for one in events)

"""What does a request to Ollama's API become, for llama-server?

A chat, and a prompt that is to be rendered by the model's template, become chat requests; a raw prompt
and one with a suffix become completions. What would need another process (`num_ctx`) changes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from relayd.errors import RequestError

Members = Mapping[str, msgspec.Raw]

_EFFORTS = frozenset({"low", "medium", "high", "max"})

_PINGED: Mapping[str, object] = {"sse_ping_interval": 10}
"""Seconds between comments of an engine that still reads a prompt: each becomes an empty line of the answer,
as clients give up that see no head within 30 s (Cline)."""

_PNG = "data:image/png;base64,"
"""How the engine takes an image; it looks at the bytes for their true type."""


class _SaidTool(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    arguments: object = None


_NO_TOOL = _SaidTool()


class _SaidCall(msgspec.Struct, gc=False):
    id: str | None = None
    function: _SaidTool = _NO_TOOL


class _OllamaMessage(msgspec.Struct, gc=False):
    role: str = "user"
    content: str | None = None
    images: list[str] | None = None
    tool_calls: list[_SaidCall] | None = None
    tool_name: str | None = None
    name: str | None = None
    tool_call_id: str | None = None
    thinking: str | None = None


_messages = msgspec.json.Decoder(list[_OllamaMessage] | None)
_anything = msgspec.json.Decoder()
_texts = msgspec.json.Decoder(list[str] | None)


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """A request as llama-server reads it.

    Attributes:
        path: Where it goes.
        body: Its members.
        left_out: Members that change nothing here.
    """

    path: str
    body: Mapping[str, object]
    left_out: tuple[str, ...] = ()


def is_empty(members: Members, *names: str) -> bool:
    """Return whether a request asks for no answer, but for its model to be loaded or unloaded."""
    return all(_read(members, name) in (None, "", []) for name in names)


def unloads(members: Members) -> bool:
    """Return whether a model is to be unloaded behind the request: `keep_alive` of 0, in any spelling."""
    kept = _read(members, "keep_alive")
    if isinstance(kept, str):
        return bool(kept) and not kept.strip("0.hmsun")
    return kept is not None and not isinstance(kept, bool) and kept == 0


def chat(members: Members, options: Mapping[str, str], *, stream: bool) -> EngineRequest:
    """Return the chat request for a conversation.

    Args:
        members: Of the client's body, each of which was accepted.
        options: Option -> member of the engine.
        stream: The answer is asked for in pieces.

    Raises:
        RequestError: A message is not one.
    """
    return _chat(members, options, _conversation(_said(members)), stream=stream)


def generate(members: Members, options: Mapping[str, str], *, stream: bool) -> EngineRequest:
    """Return the request for the continuation of a prompt; arguments and errors are those of `chat`."""
    prompt = str(_read(members, "prompt") or "")
    if suffix := _read(members, "suffix"):
        body = _completion(members, options, stream=stream)
        return EngineRequest(
            "/infill", {**body, "input_prefix": prompt, "input_suffix": suffix}, _left_out(members)
        )
    if _read(members, "raw"):
        body = _completion(members, options, stream=stream)
        return EngineRequest("/completion", {**body, "prompt": prompt}, _left_out(members))
    asked = _OllamaMessage(content=prompt, images=_images(members))
    system = str(_read(members, "system") or "")
    before = [_OllamaMessage(role="system", content=system)] if system else []
    return _chat(members, options, _conversation([*before, asked]), stream=stream)


def _chat(
    members: Members, options: Mapping[str, str], messages: Iterable[object], *, stream: bool
) -> EngineRequest:
    body: dict[str, object] = {**engine_options(members, options), "messages": list(messages)}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}, **_PINGED}
    if tools := _read(members, "tools"):
        body["tools"] = tools
    if wanted := _read(members, "format"):
        body["response_format"] = _response_format(wanted)
    if _read(members, "logprobs"):
        body |= {"logprobs": True, "top_logprobs": int(_read(members, "top_logprobs") or 0)}
    body |= _thinking(_read(members, "think"))
    return EngineRequest("/v1/chat/completions", body, _left_out(members))


def _completion(members: Members, options: Mapping[str, str], *, stream: bool) -> dict[str, object]:
    body: dict[str, object] = {**engine_options(members, options), "stream": stream}
    if stream:
        body |= _PINGED
    if wanted := _read(members, "format"):
        body["json_schema"] = {"type": "object"} if wanted == "json" else wanted
    if _read(members, "logprobs"):
        body["n_probs"] = max(1, int(_read(members, "top_logprobs") or 0))
    return body


def engine_options(members: Members, options: Mapping[str, str]) -> dict[str, object]:
    """Return the options that llama-server knows, by its names; -2 is -1 there."""
    given = _read(members, "options") or {}
    body = {options[name]: value for name, value in given.items() if name in options and value is not None}
    if isinstance(most := body.get("n_predict"), int | float) and most < 0:
        body["n_predict"] = -1
    return body


def _thinking(think: object) -> dict[str, object]:
    if think is None or think == "":
        return {}
    if isinstance(think, bool):
        return {"chat_template_kwargs": {"enable_thinking": think}}
    if think not in _EFFORTS:
        raise RequestError(
            "think is a string other than 'low', 'medium', 'high' and 'max'.",
            remedy="Send one of them, or true or false.",
            param="think",
        )
    effort = "high" if think == "max" else think
    return {
        "reasoning_effort": effort,
        "chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": effort},
    }


def _response_format(wanted: object) -> dict[str, object]:
    if wanted == "json":
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted, "strict": True}}


def _said(members: Members) -> list[_OllamaMessage]:
    try:
        return _messages.decode(members.get("messages", b"null")) or []
    except msgspec.ValidationError as error:
        raise RequestError(
            "A message has a member of another type than Ollama's.",
            remedy="Send content as a string, images as base64 and arguments of calls as objects.",
            param="messages",
        ) from error


def _images(members: Members) -> list[str] | None:
    try:
        return _texts.decode(members.get("images", b"null"))
    except msgspec.ValidationError as error:
        raise RequestError("images is not a list of base64 strings.", param="images") from error


def _conversation(said: Iterable[_OllamaMessage]) -> Iterator[dict[str, object]]:
    """Yield messages; calls without an id get one, a result without one belongs to the first open call."""
    opened: dict[str, str] = {}
    count = 0
    for message in said:
        turn: dict[str, object] = {"role": message.role, "content": _content(message)}
        if message.thinking:
            turn["reasoning_content"] = message.thinking
        if message.tool_calls:
            calls = []
            for call in message.tool_calls:
                count += 1
                name = call.id or f"call_{count}"
                opened[name] = call.function.name
                calls.append(_call(name, call.function))
            turn["tool_calls"] = calls
        if message.role == "tool":
            count += 1
            turn["tool_call_id"] = _answered(message, opened) or f"call_{count}"
        yield turn


def _answered(message: _OllamaMessage, opened: dict[str, str]) -> str | None:
    """Return the call that a result belongs to, which is then no longer open."""
    named = message.tool_name or message.name
    by_name = (one for one, name in opened.items() if name == named)
    found = message.tool_call_id or (next(by_name, None) if named else None) or next(iter(opened), None)
    opened.pop(found or "", None)
    return found


def _call(name: str, function: _SaidTool) -> dict[str, object]:
    given = function.arguments
    arguments = given if isinstance(given, str) else msgspec.json.encode(given or {}).decode()
    return {"id": name, "type": "function", "function": {"name": function.name, "arguments": arguments}}


def _content(message: _OllamaMessage) -> object:
    if not message.images:
        return message.content or ""
    return [
        *([{"type": "text", "text": message.content}] if message.content else []),
        *({"type": "image_url", "image_url": {"url": _as_url(image)}} for image in message.images),
    ]


def _as_url(image: str) -> str:
    """Return an image as a data URL; whatever a client writes, none is fetched."""
    return image if image[:5].lower() == "data:" else _PNG + image


def _left_out(members: Members) -> tuple[str, ...]:
    return tuple(name for name in ("template", "context") if _read(members, name))


def _read(members: Members, name: str) -> Any:
    raw = members.get(name)
    return None if raw is None else _anything.decode(raw)

"""How does a conversation in Anthropic's form become a chat request?

For what the engine does only there: an answer in a given format.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from relayd.dialects.anthropic_request import EngineMessages
from relayd.dialects.toolchoice import REQUIRED
from relayd.errors import RequestError

_SAME = ("temperature", "top_p", "top_k", "stream", "chat_template_kwargs", "model")
_CHOICES = {"auto": "auto", "any": "required"}


def as_chat(asked: EngineMessages) -> bytes:
    """Return the body of the chat request for a request that wants an answer in a format."""
    members = {name: msgspec.json.decode(raw) for name, raw in asked.members.items()}
    body: dict[str, object] = {name: members[name] for name in _SAME if members.get(name) is not None}
    body["messages"] = [*system_of(members.get("system")), *conversation_of(members.get("messages"))]
    body["max_tokens"] = members.get("max_tokens") or 4096
    body["response_format"] = {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": asked.format, "strict": True},
    }
    if stop := members.get("stop_sequences"):
        body["stop"] = stop
    if tools := members.get("tools"):
        body["tools"] = [_function(tool) for tool in tools]
        choice: dict[str, Any] = members.get("tool_choice") or {}
        body["tool_choice"] = _CHOICES.get(choice.get("type", ""), "auto")
        if body["tool_choice"] == REQUIRED:
            body.pop("response_format", None)  # a format is that of a text, and the engine would write one
        if asked.parallel is not None:
            body["parallel_tool_calls"] = asked.parallel
    if body.get("stream"):
        body["stream_options"] = {"include_usage": True}
    thinking = members.get("thinking") or {}
    if thinking.get("type") == "enabled" and isinstance(budget := thinking.get("budget_tokens"), int):
        body["thinking_budget_tokens"] = budget
    return msgspec.json.encode(body)


def _function(tool: Mapping[str, object]) -> dict[str, object]:
    """Return a tool as chat requests write it."""
    function = {
        "name": tool.get("name", ""),
        "description": tool.get("description") or "",
        "parameters": tool.get("input_schema") or {},
    }
    return {"type": "function", "function": function}


def system_of(system: object) -> Iterator[dict[str, Any]]:
    """Yield the message that a system prompt becomes, if there is one."""
    blocks = system if isinstance(system, list) else [{"text": system}] if system else []
    texts = [str(block.get("text") or "") for block in blocks]
    if texts:
        yield {"role": "system", "content": "".join(texts)}


def conversation_of(messages: object) -> Iterator[dict[str, Any]]:
    """Yield the messages of a chat that those of a request become.

    Raises:
        RequestError: There are none.
    """
    if not isinstance(messages, list):
        raise RequestError("messages is missing.", remedy="Send the conversation.", param="messages")
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            yield from _turn(message.get("role"), content)
        elif content is not None:
            yield message


def _turn(role: object, blocks: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield what one message becomes: its results of tools, and what it holds besides, in their order."""
    parts = [_part(block) for block in blocks if block["type"] in ("text", "image")]
    calls = [_call(block) for block in blocks if block["type"] == "tool_use"]
    thoughts = "".join(block.get("thinking") or "" for block in blocks if block["type"] == "thinking")
    results = [_answered(block) for block in blocks if block["type"] == "tool_result"]
    begins_with_result = bool(results) and blocks[0]["type"] == "tool_result"
    if begins_with_result:
        yield from results
    if parts or calls or thoughts:
        message: dict[str, object] = {"role": role, "content": parts or ""}
        if calls:
            message["tool_calls"] = calls
        if thoughts:
            message["reasoning_content"] = thoughts
        yield message
    if not begins_with_result:
        yield from results


def _answered(block: Mapping[str, Any]) -> dict[str, object]:
    return {"role": "tool", "tool_call_id": block.get("tool_use_id") or "", "content": _result(block)}


def _part(block: Mapping[str, Any]) -> dict[str, object]:
    if block["type"] == "text":
        return {"type": "text", "text": block.get("text") or ""}
    source = block.get("source") or {}
    url = (
        source.get("url") or f"data:{source.get('media_type', 'image/jpeg')};base64,{source.get('data', '')}"
    )
    return {"type": "image_url", "image_url": {"url": url}}


def _call(block: Mapping[str, Any]) -> dict[str, object]:
    arguments = msgspec.json.encode(block.get("input") or {}).decode()
    function = {"name": block.get("name") or "", "arguments": arguments}
    return {"id": block.get("id") or "", "type": "function", "function": function}


def _result(block: Mapping[str, Any]) -> object:
    """Return what a tool answered: text, or parts where it has images."""
    content = block.get("content") or ""
    if isinstance(content, str):
        return content
    parts = [_part(part) for part in content]
    if all(part["type"] == "text" for part in parts):
        return "".join(str(part["text"]) for part in parts)
    return parts

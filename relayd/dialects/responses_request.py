"""How does a request to OpenAI's responses API become a chat request of the engine?

The engine has a door of its own for it (b11434), whose stream typed clients cannot read, which ignores
`text.format`, and refuses many items of a history. So relayd translates to a chat and back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from relayd.dialects.responses_items import FindItem, ItemsAsMessages, joined_instructions
from relayd.dialects.responses_tools import Json, OfferedTools, offer
from relayd.dialects.toolchoice import NONE, REQUIRED, read_choice, select
from relayd.errors import RequestError

_HANDLED = frozenset({
    "background", "client_metadata", "conversation", "include", "input", "instructions", "max_output_tokens",
    "max_tool_calls", "metadata", "previous_response_id", "prompt", "prompt_cache_key",
    "prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "store", "stream_options",
    "text", "tool_choice", "tools", "top_logprobs", "truncation", "user", "verbosity",
})  # fmt: skip
"""What is translated or means nothing to the engine; any other member passes as it came."""

ECHOED: Mapping[str, object] = {
    "instructions": None, "max_output_tokens": None, "max_tool_calls": None, "metadata": {},
    "parallel_tool_calls": True, "previous_response_id": None, "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None}, "safety_identifier": None, "store": True,
    "temperature": None, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
    "top_p": None, "truncation": "disabled", "user": None,
}  # fmt: skip
"""What a response repeats of its request, and what it holds where the request left that out."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request as the engine gets it, and what its answer has to know.

    Attributes:
        body: Of the chat request.
        tools: Those that were offered.
        items: The whole conversation, as items.
        echo: What the response repeats.
        left_out: What the model is not shown.
    """

    body: bytes
    tools: OfferedTools
    items: list[Any]
    echo: Mapping[str, object]
    left_out: tuple[str, ...]

    @property
    def summarizes(self) -> bool:
        """Whether the client reads reasoning as a summary."""
        reasoning = self.echo["reasoning"]
        return isinstance(reasoning, dict) and bool(reasoning.get("summary"))


def as_chat(
    members: Mapping[str, msgspec.Raw], history: list[Any], find: FindItem, *, stream: bool
) -> ChatRequest:
    """Return the chat request for a request to the responses API.

    Args:
        members: What it holds, its types and sizes checked.
        history: The items of the conversation that it continues.
        find: Finds items that it refers to.
        stream: Its answer is streamed.

    Raises:
        RequestError: It asks for what cannot be carried out.
    """
    asked: Json = {name: msgspec.json.decode(raw) for name, raw in members.items() if name in _HANDLED}
    echo = {name: asked.get(name) if asked.get(name) is not None else unset for name, unset in ECHOED.items()}
    for name in ("parallel_tool_calls", "temperature", "top_p"):
        if name in members and (value := msgspec.json.decode(members[name])) is not None:
            echo[name] = value
    given = asked.get("input")
    items = [*history, *([{"role": "user", "content": given}] if isinstance(given, str) else given or [])]
    tools = offer(asked.get("tools"))
    conversation = ItemsAsMessages(tools, find)
    if asked.get("instructions"):
        conversation.messages.append({"role": "system", "content": asked["instructions"]})
    conversation.add_all(items)
    if not conversation.messages:
        raise RequestError(
            "There is nothing to answer: input holds no message.",
            remedy="Send input, instructions or previous_response_id.",
            param="input",
        )
    body: Json = {name: raw for name, raw in members.items() if name not in _HANDLED}
    body["messages"] = joined_instructions(conversation.messages)
    _limit(body, asked)
    _choose(body, asked, tools)
    if stream:
        body["stream_options"] = {"include_usage": True}
    left_out = (*tools.left_out, *conversation.left_out)
    return ChatRequest(msgspec.json.encode(body), tools, items, echo, left_out)


def _limit(body: Json, asked: Json) -> None:
    """Ask for the length, the format and the effort."""
    if asked.get("max_output_tokens") is not None:
        body["max_tokens"] = asked["max_output_tokens"]
    if wanted := _format((asked.get("text") or {}).get("format")):
        body["response_format"] = wanted
    if isinstance(reasoning := asked.get("reasoning"), dict) and isinstance(
        effort := reasoning.get("effort"), str
    ):
        body["reasoning_effort"] = effort


def _format(wanted: object) -> Json | None:
    """Return the format of a text as chat requests write it."""
    if wanted is None:
        return None
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if not isinstance(wanted, dict) or kind not in ("text", "json_object", "json_schema"):
        raise RequestError(
            "text.format is not a format.",
            remedy="Its type is text, json_object or json_schema.",
            param="text",
        )
    if kind == "json_schema":
        schema = {name: wanted[name] for name in ("name", "schema", "strict") if wanted.get(name) is not None}
        return {"type": kind, "json_schema": {"name": "answer", **schema}}
    return {"type": kind} if kind == "json_object" else None


def _choose(body: Json, asked: Json, tools: OfferedTools) -> None:
    """Offer the tools that may be called."""
    choice = read_choice(msgspec.json.encode(asked.get("tool_choice")))
    raw = [msgspec.Raw(msgspec.json.encode(function)) for function in tools.functions]
    chosen = select(raw, choice)
    if choice.mode == NONE or not chosen:
        body.pop("parallel_tool_calls", None)
        return
    body["tools"], body["tool_choice"] = chosen, choice.mode
    if choice.mode == REQUIRED:
        body.pop("response_format", None)  # a format is that of a text, and the engine would write one

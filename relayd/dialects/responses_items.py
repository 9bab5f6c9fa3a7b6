"""How do the items of OpenAI's responses API become the messages of a chat?

Clients send back all that an answer held, and items of tools that only OpenAI runs. What the model can be
shown becomes a message; the rest is left out and named, so that a conversation never ends in an error over
its own history.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from relayd.dialects.responses_compaction import summary_in
from relayd.dialects.responses_tools import CUSTOM_ARGUMENT, OfferedTools
from relayd.errors import RequestError

Json = dict[str, Any]

FindItem = Callable[[str], Json | None]
"""Returns an item of an earlier answer by its id."""

_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "summary_text": "text",
          "reasoning_text": "text", "refusal": "refusal"}  # fmt: skip
"""Types of a part that hold text, and the member that it is in."""

_ROLES = frozenset({"user", "assistant", "system", "developer"})
_INSTRUCTING = frozenset({"system", "developer"})
_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output", "local_shell_call_output"})


class ItemsAsMessages:
    """Collects the messages of a chat, item by item.

    Args:
        tools: Of the request.
        find: Finds items that are only referred to.

    Attributes:
        messages: What was collected.
        left_out: Types of items that the model is not shown.
    """

    def __init__(self, tools: OfferedTools, find: FindItem) -> None:
        self.messages: list[Json] = []
        self.left_out: dict[str, None] = {}
        self._tools = tools
        self._find = find

    def __repr__(self) -> str:
        return f"<ItemsAsMessages messages={len(self.messages)} left_out={len(self.left_out)}>"

    def add_all(self, items: object) -> None:
        """Add an input: a text, or a list of items.

        Raises:
            RequestError: It is something else, or holds what cannot be shown.
        """
        if isinstance(items, str):
            self.messages.append({"role": "user", "content": items})
        elif isinstance(items, list):
            for number, item in enumerate(items):
                self._add(item, f"input[{number}]")
        else:
            raise RequestError("input must be a string or a list of items.", param="input")

    def _add(self, item: object, where: str) -> None:
        if not isinstance(item, dict):
            raise RequestError(f"{where} is not an object.", param="input")
        kind = item.get("type") or "message"
        if kind == "item_reference":
            self._add(self._referred(item, where), where)
        elif kind == "message":
            self._message(item, where)
        elif kind == "reasoning":
            self._reasoning(item, where)
        elif kind in ("function_call", "custom_tool_call", "local_shell_call"):
            self._call(item, str(kind))
        elif kind in _OUTPUTS:
            self._output(item, where)
        elif kind == "compaction" and (summary := summary_in(item)):
            self.messages.append({"role": "user", "content": summary})
        else:
            self.left_out[str(kind)[:64]] = None

    def _referred(self, item: Json, where: str) -> Json:
        found = self._find(str(item.get("id")))
        if found is None:
            raise RequestError(
                f"{where} refers to an item that is not kept here.",
                remedy="Send the item itself.",
                param="input",
            )
        return found

    def _message(self, item: Json, where: str) -> None:
        role = item.get("role")
        if role not in _ROLES:
            raise RequestError(f"{where} has no role of a message.", param="input")
        content = _content(item.get("content"), where)
        if role == "assistant":
            self._assistant(fresh=("content", "tool_calls"))["content"] = content
        else:
            self.messages.append({"role": role, "content": content})

    def _reasoning(self, item: Json, where: str) -> None:
        text = _content(item.get("content") or item.get("summary"), where)
        if text and isinstance(text, str):
            message = self._assistant(fresh=("content", "tool_calls"))
            message["reasoning_content"] = message.get("reasoning_content", "") + text

    def _call(self, item: Json, kind: str) -> None:
        name, arguments = str(item.get("name") or ""), item.get("arguments")
        if kind == "custom_tool_call":
            arguments = msgspec.json.encode({CUSTOM_ARGUMENT: item.get("input") or ""}).decode()
        elif kind == "local_shell_call":
            name, arguments = "local_shell", msgspec.json.encode(item.get("action") or {}).decode()
        function = {
            "name": self._tools.engine_name(name, str(item.get("namespace") or "")),
            "arguments": arguments if isinstance(arguments, str) else "{}",
        }
        call = {
            "id": str(item.get("call_id") or item.get("id") or ""),
            "type": "function",
            "function": function,
        }
        self._assistant().setdefault("tool_calls", []).append(call)

    def _output(self, item: Json, where: str) -> None:
        """Add the result of a tool; one that belongs to no call is shown as the user's."""
        content = _content(item.get("output"), where)
        call_id = item.get("call_id")
        if isinstance(call_id, str) and call_id:
            self.messages.append({"role": "tool", "tool_call_id": call_id, "content": content})
        elif isinstance(name := item.get("name"), str) and isinstance(content, str):
            self.messages.append({"role": "user", "content": f"{name}: {content}"})
        else:
            self.messages.append({"role": "user", "content": content})

    def _assistant(self, fresh: Iterable[str] = ()) -> Json:
        """Return the assistant's message that is open, or a new one if that has any of some members."""
        last = self.messages[-1] if self.messages else {}
        if last.get("role") != "assistant" or any(last.get(name) for name in fresh):
            last = {"role": "assistant", "content": ""}
            self.messages.append(last)
        return last


def joined_instructions(messages: list[Json]) -> list[Json]:
    """Return messages with all instructions at their head in one: many templates take only one."""
    texts = []
    for message in messages:
        if message["role"] not in _INSTRUCTING or not isinstance(message["content"], str):
            break
        texts.append(message["content"])
    if len(texts) < 2:
        return messages
    head = {"role": "system", "content": "\n\n".join(filter(None, texts))}
    return [head, *messages[len(texts) :]]


def _content(content: object, where: str) -> str | list[Json]:
    """Return text, or parts where it holds more than text.

    Raises:
        RequestError: A part cannot be shown.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise RequestError(f"{where} has content that is not text or a list of parts.", param="input")
    parts = [_part(part, where) for part in content]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _part(part: object, where: str) -> Json:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str):
        raise RequestError(f"{where} has a part without a type.", param="input")
    if member := _TEXTS.get(kind):
        return {"type": "text", "text": str(part.get(member) or "")}
    if kind == "input_image" and (url := _image_url(part)):
        return {"type": "image_url", "image_url": {"url": url}}
    if kind == "input_audio" and isinstance(audio := part.get("input_audio"), dict):
        return {"type": "input_audio", "input_audio": audio}
    raise RequestError(
        f"{where} has a part of type {kind[:40]!r} that cannot be shown to this model.",
        remedy="Send its text, or an image as a data: URL.",
        param="input",
    )


def _image_url(part: Mapping[str, Any]) -> str:
    url = part.get("image_url")
    url = url.get("url") if isinstance(url, dict) else url
    return url if isinstance(url, str) else ""

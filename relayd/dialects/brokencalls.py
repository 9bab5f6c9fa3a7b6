"""What of a conversation's history would the engine refuse with every turn from now on (broken calls)?

One call that was cut off, an empty answer, or a call without its result ends a conversation for good: clients
send their history back as it is (b11434: 500 for 62 of 71 templates). Each is repaired where it stands.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from relayd.dialects.jsonends import ending_of

Message = dict[str, Any]

_ROLES = {"function": "tool", "model": "assistant", "human": "user", "ai": "assistant"}
"""Roles of older or other APIs, and the one that means the same."""

_QUOTED = "unreadable"
"""The only argument of a call whose arguments cannot be read: what they were."""

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ChangeNotes:
    """What was changed in a request, in the order of the first time."""

    def __init__(self) -> None:
        self._made: dict[str, None] = {}

    def __repr__(self) -> str:
        return f"<ChangeNotes {len(self._made)}>"

    def __bool__(self) -> bool:
        return bool(self._made)

    def add(self, change: str) -> None:
        """Note a change."""
        self._made[change] = None

    def shown(self) -> str:
        """Return what `X-Relayd-Changed` reports."""
        return "; ".join(self._made)


def text_of(part: object) -> str | None:
    """Return the text of a part of a content; None where it has none."""
    if isinstance(part, str):
        return part
    text = part.get("text") if isinstance(part, dict) else None
    return text if isinstance(text, str) else None


def repaired(messages: Sequence[Message], changes: ChangeNotes) -> list[Message]:
    """Return a history that the engine reads; `changes` gets what was repaired."""
    found = [_repaired(message, changes) for message in messages]
    if found and found[-1].get("tool_calls"):  # the engine would continue it, and refuses
        found += _unanswered(found[-1], changes)
    return found


def _repaired(message: Message, changes: ChangeNotes) -> Message:
    role, calls = message.get("role"), message.get("tool_calls")
    if isinstance(role, str) and role in _ROLES:
        changes.add(f"roles: {role} as {_ROLES[role]}")
        message = {**message, "role": _ROLES[role]}
    if calls:
        message = _with_read_calls(message, calls, changes)
    elif "tool_calls" in message:
        message = {name: value for name, value in message.items() if name != "tool_calls"}
    if message.get("content") is None and not message.get("tool_calls"):
        if "content" not in message:
            changes.add("history: an empty content added")
        message = {**message, "content": ""}
    return message


def _with_read_calls(message: Message, calls: Any, changes: ChangeNotes) -> Message:
    """Return a turn whose calls are calls; what is none becomes text of the turn."""
    kept, texts = list[Message](), list[str]()
    for call in calls if isinstance(calls, list) else [calls]:
        read = _call(call, changes)
        if read is None:
            changes.add("calls: one that cannot be read as text")
            texts.append(msgspec.json.encode(call).decode())
        else:
            kept.append(read)
    if len(texts) == 0 and kept == calls:
        return message
    content = message.get("content")
    if texts and isinstance(content, list):
        content = [*content, *({"type": "text", "text": text} for text in texts)]
    elif texts:
        content = "\n".join(filter(None, (content, *texts)))
    rest = {name: value for name, value in message.items() if name != "tool_calls"}
    return {**rest, "content": content, **({"tool_calls": kept} if kept else {})}


def _call(call: object, changes: ChangeNotes) -> Message | None:
    """Return a call that the engine reads; None where it has no name."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        return None
    if not isinstance(name := function.get("name"), str) or not name:
        return None
    arguments = _arguments(function.get("arguments"), changes)
    if call.get("type") == "function" and arguments is function.get("arguments"):
        return call
    return {**call, "type": "function", "function": {**function, "arguments": arguments}}


def _arguments(given: object, changes: ChangeNotes) -> object:
    """Return arguments that are a JSON object; as they are, where they are one."""
    if isinstance(given, dict):
        return given
    if not isinstance(given, str):
        changes.add("calls: arguments added")
        return "{}" if given is None else _quoted(msgspec.json.encode(given).decode())
    if _is_object(given):
        return given
    if not given.strip() or given == "null":
        changes.add("calls: arguments added")
        return "{}"
    ending = ending_of(given)
    if ending and _is_object(given + ending):
        changes.add("calls: cut arguments completed")
        return given + ending
    changes.add("calls: unreadable arguments quoted")
    return _quoted(given)


def _is_object(text: str) -> bool:
    try:
        _object.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return False
    return True


def _quoted(text: str) -> str:
    return msgspec.json.encode({_QUOTED: text}).decode()


def _unanswered(message: Message, changes: ChangeNotes) -> Iterator[Message]:
    """Yield a result for each call of the last turn: it was not carried out."""
    for call in message["tool_calls"]:
        changes.add("calls: a result added")
        name = str(call.get("id") or "")
        yield {"role": "tool", "tool_call_id": name, "content": "(This call was not carried out.)"}

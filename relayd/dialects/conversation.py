"""What becomes of a request's conversation so that the model's template takes it (conversation)?

One place for every API: whatever a client sent, the engine gets a chat request or one to its `/v1/messages`,
and both hold messages. The engine takes those of a chat in either, as long as their content is a string
(b11434), so that a conversation in Anthropic's form goes back to the door it was meant for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from relayd.dialects.anthropic_chat import conversation_of, system_of
from relayd.dialects.brokencalls import ChangeNotes, Message, repaired
from relayd.dialects.hygiene import HygieneRule, cleaned
from relayd.dialects.turns import TemplateTraits, fitted
from relayd.errors import RequestError

MESSAGES = frozenset({"/v1/messages", "/v1/messages/count_tokens"})
CHATS = frozenset({
    "/v1/chat/completions", "/chat/completions", "/v1/chat/completions/input_tokens", "/apply-template",
})  # fmt: skip
CONVERSATIONS = MESSAGES | CHATS
"""Paths of the engine whose bodies hold a conversation."""


class _RoleOfTurn(msgspec.Struct, gc=False):
    role: str = ""


_roles = msgspec.json.Decoder(list[_RoleOfTurn])
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_chat = msgspec.json.Decoder(list[Message])
_anything = msgspec.json.Decoder(Any)


class FittedBody(msgspec.Struct, frozen=True):
    """A body whose conversation was changed, and what the client should know of it."""

    body: bytes
    change: str


def fit_conversation(
    path: str,
    body: bytes,
    traits: TemplateTraits | None,
    rules: Sequence[HygieneRule] = (),
    *,
    repairs: bool = True,
) -> FittedBody | None:
    """Return a body whose conversation the engine and the template take; None where this one is left alone.

    Args:
        path: Of the engine.
        body: As the engine would get it.
        traits: Of the model's template; None fits nothing to it.
        rules: What is taken out that changes with each request.
        repairs: Whether a broken history is repaired.
    """
    try:
        members = _members.decode(body)
        changes, is_message = ChangeNotes(), path in MESSAGES
        before = chat_of(members, is_message=is_message)
    except (msgspec.DecodeError, RequestError, TypeError, KeyError, AttributeError):
        return None  # the engine's own validation judges it
    after = cleaned(before, rules, changes) if rules else before
    after = repaired(after, changes) if repairs else after
    if traits is not None:
        after = fitted(after, traits, changes)
    if not changes:
        return None
    written = {name: raw for name, raw in members.items() if not (is_message and name == "system")}
    shown = [_for_messages_door(one) for one in after] if is_message else after
    written["messages"] = msgspec.Raw(msgspec.json.encode(shown))
    return FittedBody(msgspec.json.encode(written), changes.shown())


def is_regular(messages: msgspec.Raw) -> bool:
    """Return whether a conversation is one that every template takes: a user and an assistant by turns.

    A system message may be its first; whatever else there is has to be looked at. 1 µs for a short one.
    """
    try:
        roles = [turn.role for turn in _roles.decode(messages)]
    except msgspec.DecodeError:
        return True  # the engine's own validation judges it
    start = roles[:1] == ["system"]
    turns = roles[start:]
    return turns[::2].count("user") * 2 - 1 == len(turns) and turns[1::2].count("assistant") * 2 + 1 == len(
        turns
    )


def chat_of(members: Mapping[str, msgspec.Raw], *, is_message: bool) -> list[Message]:
    """Return the messages of a body as those of a chat.

    Raises:
        msgspec.DecodeError: They are none.
    """
    if not is_message:
        return _chat.decode(members["messages"])
    system = _anything.decode(members.get("system", b"null"))
    return [*system_of(system), *conversation_of(_anything.decode(members["messages"]))]


def _for_messages_door(message: Message) -> Message:
    """Return a message of a chat as the engine's `/v1/messages` takes it.

    A content that is a string passes there with all other members; one of parts becomes blocks, which the
    engine joins as it joins those of a client.
    """
    content = message.get("content")
    if not isinstance(content, list):
        return {**message, "content": content or ""}
    if message.get("tool_calls"):
        texts = (str(part.get("text") or "") for part in content if isinstance(part, dict))
        return {**message, "content": "\n".join(texts)}
    blocks = [_block(part) for part in content]
    if message.get("role") == "tool":
        result = {"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": blocks}
        return {"role": "user", "content": [result]}
    if thoughts := message.get("reasoning_content"):
        blocks = [{"type": "thinking", "thinking": thoughts}, *blocks]
    return {"role": message.get("role"), "content": blocks}


def _block(part: Any) -> Any:
    """Return a part of a chat's content as a block."""
    if not isinstance(part, dict) or part.get("type") != "image_url":
        return part
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return {"type": "image", "source": {"type": "url", "url": url}}

"""How does a whole message look in Anthropic's form: one of the engine's own, or made of a chat answer?

Of the engine's own only the names differ, and the reason where a stop sequence ended it (b11434).
"""

import re
from typing import Any

import msgspec

from relayd.dialects.anthropic_answer import REASONS, MessageNames, tool_use_id
from relayd.dialects.chat_answer import AnswerCost
from relayd.dialects.collected import CollectedAnswer
from relayd.errors import UpstreamError

_PLAIN_END, _CALL = b'"stop_sequence":null', b'"tool_use"'
_ID = re.compile(rb'"id":"[^"\\]*"')
_MODEL = re.compile(rb'"model":"(?:[^"\\]|\\.)*"')
"""Names in an answer that holds nothing but text."""

_encode = msgspec.json.Encoder().encode


class MessageWhole(CollectedAnswer):
    """Mends an answer of the engine's own that comes as a whole.

    Args:
        names: What the answer is called.
    """

    def __init__(self, names: MessageNames) -> None:
        self._pieces = []
        self._names = names

    def end(self) -> bytes:
        """Return the whole answer.

        Raises:
            UpstreamError: The engine's own is not what it should be.
        """
        whole = self.collected()
        if _PLAIN_END in whole and _CALL not in whole:
            return self._renamed(whole)
        try:
            message = msgspec.json.decode(whole, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise UpstreamError("The replica's answer is not a message.") from error
        message |= {"id": self._names.id, "model": self._names.model}
        if message.get("stop_sequence") is not None:
            message["stop_reason"] = "stop_sequence"
        calls = [block for block in message.get("content") or () if block.get("type") == "tool_use"]
        for block in calls:
            block["id"] = tool_use_id(block.get("id"))
        if self._names.one_call and len(calls) > 1:
            message["content"] = [block for block in message["content"] if block not in calls[1:]]
        return _encode(message)

    def _renamed(self, whole: bytes) -> bytes:
        """Return an answer of which only the names differ; quotes inside of a text are escaped."""
        name, model = _encode(self._names.id), _encode(self._names.model)
        whole = _ID.sub(lambda _: b'"id":' + name, whole, count=1)
        return _MODEL.sub(lambda _: b'"model":' + model, whole, count=1)


class WholeMessageWriter:
    """Makes a message of an answer to a chat request.

    Args:
        names: What the answer is called.
    """

    def __init__(self, names: MessageNames) -> None:
        self._names = names
        self._content: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []
        self._made = b""

    def __repr__(self) -> str:
        return f"<WholeMessageWriter {self._names.id} blocks={len(self._content)}>"

    def begin(self) -> None:
        """Begin with nothing."""

    def think(self, text: str) -> None:
        """Take the reasoning."""
        self._content.append({"type": "thinking", "thinking": text, "signature": ""})

    def say(self, text: str) -> None:
        """Take the text."""
        self._content.append({"type": "text", "text": text})

    def call(self, call_id: str, name: str) -> None:
        """Take a call of a tool."""
        call: dict[str, Any] = {"type": "tool_use", "id": tool_use_id(call_id), "name": name, "input": {}}
        if not (self._names.one_call and self._calls):
            self._content.append(call)
        self._calls.append(call)

    def argue(self, text: str) -> None:
        """Take the last call's arguments."""
        try:
            self._calls[-1]["input"] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            self._calls[-1]["input"] = {}

    def finish(self, reason: str, counts: AnswerCost) -> None:
        """Make the message."""
        usage = {
            "input_tokens": counts.prompt - counts.cached,
            "cache_read_input_tokens": counts.cached,
            "output_tokens": counts.completion,
        }
        self._made = _encode({
            "id": self._names.id, "type": "message", "role": "assistant", "model": self._names.model,
            "content": self._content, "stop_reason": REASONS.get(reason, "end_turn"), "stop_sequence": None,
            "usage": usage,
        })  # fmt: skip

    def fail(self, kind: str, message: str) -> None:
        """Make an error: a whole answer is never one."""
        self._made = _encode({"type": "error", "error": {"type": kind, "message": message}})

    def take(self) -> bytes:
        """Return the message."""
        return self._made

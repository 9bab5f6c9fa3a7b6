"""How does a long conversation become a short one (`/v1/responses/compact`)?

The model itself writes a summary. It travels as the item that OpenAI's clients send back unread, so it is
encoded, not encrypted; an item that another server made cannot be read here, and is left out.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import msgspec

from relayd.dialects.chat_answer import AnswerCost
from relayd.dialects.responses_answer import usage_of

Json = dict[str, Any]

_WISH = (
    "Summarize the conversation above for yourself, so that you can go on without it: what was asked, what "
    "was decided and found, names, numbers and code that are still needed, and what is left to do. Write "
    "only that."
)
_HEADING = "Summary of the conversation so far:\n\n"


class _Sealed(msgspec.Struct):
    summary: str
    version: int = 1


_sealed = msgspec.json.Decoder(_Sealed)


def asking_for_summary(body: bytes) -> bytes:
    """Return a chat request that asks for a summary of its conversation."""
    request: Json = msgspec.json.decode(body)
    messages: list[Json] = request["messages"]
    last = messages[-1] if messages else {}
    if last.get("role") == "user" and isinstance(last.get("content"), str):
        last["content"] += f"\n\n{_WISH}"  # many templates want roles to alternate
    else:
        messages.append({"role": "user", "content": _WISH})
    return msgspec.json.encode(request)


def summary_in(item: Json) -> str:
    """Return the message that an item of a shortened conversation stands for; "" where it is not ours."""
    given = item.get("encrypted_content")
    try:
        sealed = _sealed.decode(base64.urlsafe_b64decode(given if isinstance(given, str) else ""))
    except (binascii.Error, msgspec.DecodeError, ValueError):
        return ""
    return _HEADING + sealed.summary


class CompactionWriter:
    """Makes the shortened conversation of an answer to a request for a summary.

    Args:
        name: Its id.
        created_at: Seconds since 1970.
        items: The items of the conversation; what the user wrote stays.
    """

    def __init__(self, name: str, created_at: int, items: Sequence[object]) -> None:
        self._name, self._created_at = name, created_at
        self._kept = [one for one in items if isinstance(one, dict) and one.get("role") == "user"]
        self._texts: list[str] = []
        self._made = b""

    def __repr__(self) -> str:
        return f"<CompactionWriter {self._name} kept={len(self._kept)}>"

    def begin(self) -> None:
        """Begin with nothing."""

    def think(self, text: str) -> None:
        """Take reasoning, which does not belong to a summary."""

    def say(self, text: str) -> None:
        """Take the summary."""
        self._texts.append(text)

    def call(self, call_id: str, name: str) -> None:
        """Take a call: none is offered."""

    def argue(self, text: str) -> None:
        """Take arguments of a call: none is offered."""

    def finish(self, reason: str, counts: AnswerCost) -> None:  # noqa: ARG002 - one that was cut is used too
        """Make the shortened conversation."""
        content = base64.urlsafe_b64encode(msgspec.json.encode(_Sealed("".join(self._texts)))).decode()
        item = {
            "id": self._name.replace("resp_", "cmp_"),
            "type": "compaction",
            "encrypted_content": content,
        }
        self._made = msgspec.json.encode(
            {
                "id": self._name,
                "object": "response.compaction",
                "created_at": self._created_at,
                "output": [*self._kept, item],
                "usage": usage_of(counts),
            }
        )

    def fail(self, kind: str, message: str) -> None:
        """Make an error: a whole answer is never one."""
        self._made = msgspec.json.encode({"error": {"type": kind, "message": message}})

    def take(self) -> bytes:
        """Return the object."""
        return self._made

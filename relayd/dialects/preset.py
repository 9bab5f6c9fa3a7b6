"""What does a virtual model change in a request: members, and the system prompt (preset)?

It acts on what the engine is about to get, whichever API a client uses: its members have the engine's names.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

_ALIKE = ({"max_tokens", "max_completion_tokens", "n_predict"},)
"""Members that mean the same to the engine: a request that sets one of them has set all."""

_SYSTEM_ROLES = frozenset({"system", "developer"})

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_messages = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, Any])
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Preset:
    """What a virtual model changes.

    Attributes:
        fixed: Members that every request has, whatever the client sends; objects are merged.
        defaults: Members of requests that do not set them.
        strip: Members that no request has.
        system: Text before the system prompt of a conversation.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    strip: frozenset[str] = frozenset()
    system: str = ""

    def apply(self, body: bytes, accepted: Collection[str]) -> tuple[bytes, str]:
        """Return the body that the engine gets instead, and what was changed, in words.

        Args:
            body: A JSON object whose members were accepted.
            accepted: Members that the engine reads at this path; no other one is added.
        """
        members: dict[str, Any] = dict(_members.decode(body))
        stripped = [name for name in members if name in self.strip]
        for name in stripped:
            del members[name]
        added = [
            name
            for name, value in self.defaults.items()
            if name in accepted and not _alike(name, members) and _put(members, name, value)
        ]
        for name, value in self.fixed.items():
            if name in accepted:
                for other in _alike(name, members) - {name}:
                    del members[other]
                _put(members, name, _merged(members.get(name), value))
                added.append(name)
        if self.system and self._begin(members, accepted):
            added.append("system")
        return _encode(members), _in_words(added, stripped)

    def _begin(self, members: dict[str, Any], accepted: Collection[str]) -> bool:
        """Put the system prompt in front; return whether there is a place for one."""
        if "messages" not in members:
            return False
        if "system" in accepted:
            members["system"] = self._before(members.get("system", b"null"))
            return True
        messages = _messages.decode(members["messages"])
        first = _object.decode(messages[0]) if messages else {}
        if first.get("role") in _SYSTEM_ROLES:
            first["content"] = self._before(_encode(first.get("content")))
            messages[0] = msgspec.Raw(_encode(first))
        else:
            messages.insert(0, msgspec.Raw(_encode({"role": "system", "content": self.system})))
        members["messages"] = messages
        return True

    def _before(self, raw: bytes | msgspec.Raw) -> object:
        """Return a system prompt, text or blocks of it, with the preset's own before it."""
        given = msgspec.json.decode(raw)
        if isinstance(given, list):
            return [{"type": "text", "text": self.system}, *given]
        return f"{self.system}\n\n{given}" if given else self.system


def _alike(name: str, members: Mapping[str, Any]) -> set[str]:
    """Return the members that set what `name` sets; one that is null sets nothing."""
    names = next((group for group in _ALIKE if name in group), {name})
    return {one for one in names if one in members and bytes(members[one]) != b"null"}


def _put(members: dict[str, Any], name: str, value: object) -> bool:
    members[name] = msgspec.Raw(_encode(value))
    return True


def _merged(given: msgspec.Raw | None, value: object) -> object:
    """Return the value that holds: an object keeps what a client gave for its other names."""
    if given is None or not isinstance(value, dict) or not bytes(given).startswith(b"{"):
        return value
    return {**_object.decode(given), **value}


def _in_words(added: list[str], stripped: list[str]) -> str:
    parts = (("set", added), ("left out", stripped))
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in parts if names)

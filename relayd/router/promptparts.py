"""Of which parts is a prompt made, so that two of them can be compared without their text (prompt parts)?

Only hashes and lengths are kept, of each tool and each message. They are Python's own (SipHash with a key of
this process), so that nothing can be looked up in them.
"""

from typing import NamedTuple

import msgspec

_MOST_MESSAGES = 4_000


class PromptPart(NamedTuple):
    """A tool or a message of a prompt.

    Attributes:
        name: Of the tool, or the role of the message.
        digest: Stands for its text.
        size: Bytes of it.
    """

    name: str
    digest: int
    size: int


class PromptParts(NamedTuple):
    """The parts of one prompt, in the order in which the engine reads them."""

    tools: tuple[PromptPart, ...]
    messages: tuple[PromptPart, ...]

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.tools) + sum(part.size for part in self.messages)


class _PartRole(msgspec.Struct, gc=False):
    role: str = ""


class _PartFunction(msgspec.Struct, frozen=True, gc=False):
    name: str = ""


class _PartTool(msgspec.Struct, gc=False):
    name: str = ""
    function: _PartFunction = _PartFunction()


class _PartsBody(msgspec.Struct, gc=False):
    messages: list[msgspec.Raw] = []
    tools: list[msgspec.Raw] | None = None
    system: msgspec.Raw = msgspec.Raw(b"")
    prompt: msgspec.Raw = msgspec.Raw(b"")


_body = msgspec.json.Decoder(_PartsBody)
_role = msgspec.json.Decoder(_PartRole)
_tool = msgspec.json.Decoder(_PartTool)


def parts_of(body: bytes) -> PromptParts | None:
    """Return the parts of the prompt in a body; None where it holds none. About 1 ms a MB."""
    try:
        found = _body.decode(body)
        tools = tuple(_part(_tool_name(raw), raw) for raw in found.tools or ())
        messages = [_part(_role.decode(raw).role, raw) for raw in found.messages[:_MOST_MESSAGES]]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if found.system:
        messages.insert(0, _part("system", found.system))
    if found.prompt:
        messages.append(_part("prompt", found.prompt))
    return PromptParts(tools, tuple(messages)) if messages else None


def _part(name: str, raw: msgspec.Raw) -> PromptPart:
    text = bytes(raw)
    return PromptPart(name[:64], hash(text), len(text))


def _tool_name(raw: msgspec.Raw) -> str:
    found = _tool.decode(raw)
    return found.name or found.function.name

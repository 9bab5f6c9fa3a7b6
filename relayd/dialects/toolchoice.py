"""Which tools may the model call, and must it (`tool_choice` of every API)?

llama-server b11434 reads a named tool and `allowed_tools` as `auto`, and leaves tools in the prompt when
none may be called. What is asked for can be expressed by what it does follow: a shorter list of
tools, and `auto` or `required`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from relayd.errors import RequestError

AUTO, REQUIRED, NONE = "auto", "required", "none"

_MODES = {"any": REQUIRED, "validated": AUTO}
"""Modes that have another name here."""

_NAMING = frozenset({"function", "tool", "custom"})
"""Types of a choice that name one tool."""


class _NamedFunction(msgspec.Struct, gc=False):
    name: str = ""


class _OfferedTool(msgspec.Struct, gc=False):
    name: str | None = None
    function: _NamedFunction | None = None


_tools = msgspec.json.Decoder(list[msgspec.Raw] | None)
_tool = msgspec.json.Decoder(_OfferedTool)
_choice = msgspec.json.Decoder(dict[str, object] | str | None)


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """What a request allows.

    Attributes:
        mode: `auto`, `required` or `none`.
        names: The only tools that may be called; None allows all of them.
        parallel: Whether several may be called at once; None where the request leaves it open.
    """

    mode: str = AUTO
    names: frozenset[str] | None = None
    parallel: bool | None = None


def read_choice(raw: bytes | msgspec.Raw) -> ToolChoice:
    """Return what a `tool_choice` means, whichever API wrote it.

    Raises:
        RequestError: It means nothing.
    """
    try:
        choice = _choice.decode(raw)
    except msgspec.DecodeError as error:
        raise _unknown("it must be a string or an object") from error
    if choice is None:
        return ToolChoice()
    if isinstance(choice, str):
        return ToolChoice(_mode(choice))
    parallel = False if choice.get("disable_parallel_tool_use") is True else None
    kind = choice.get("type")
    if kind == "allowed_tools":
        allowed = choice.get("allowed_tools", choice)
        if not isinstance(allowed, dict) or not isinstance(tools := allowed.get("tools"), list):
            raise _unknown("allowed_tools needs a list of tools")
        names = frozenset(name for name in map(_name_in, tools) if name)
        return ToolChoice(_mode(allowed.get("mode", AUTO)), names, parallel)
    if kind in _NAMING:
        if not (name := _name_in(choice)):
            raise _unknown("it must name a tool")
        return ToolChoice(REQUIRED, frozenset({name}), parallel)
    return ToolChoice(_mode(kind), None, parallel)


def select(tools: Sequence[msgspec.Raw], choice: ToolChoice) -> list[msgspec.Raw]:
    """Return the tools that a choice allows, each as it was written.

    Raises:
        RequestError: It names one that is not offered, or needs one and none is.
    """
    if choice.mode == NONE:
        return []
    if choice.names is None:
        chosen = list(tools)
    else:
        offered = {name_of(tool): tool for tool in tools}
        if missing := sorted(choice.names - offered.keys()):
            raise _unknown(f"{missing[0][:64]!r} is not among the tools of the request")
        chosen = [tool for name, tool in offered.items() if name in choice.names]
    if choice.mode == REQUIRED and not chosen:
        raise _unknown("a tool must be called and the request offers none")
    return chosen


def name_of(tool: msgspec.Raw) -> str:
    """Return the name of a tool, in any API's form; empty when it has none."""
    try:
        found = _tool.decode(tool)
    except msgspec.DecodeError:
        return ""
    return found.name or (found.function.name if found.function else "")


def followed(members: Mapping[str, msgspec.Raw]) -> dict[str, msgspec.Raw] | None:
    """Return the members of a chat request with a `tool_choice` that the engine follows.

    Args:
        members: Of a request for chat completions; their values are still bytes.

    Returns:
        Changed members, or None when the engine follows them as they are.

    Raises:
        RequestError: The choice cannot be followed.
    """
    raw = members.get("tool_choice")
    if raw is None or bytes(raw) in (b'"auto"', b"null"):
        return None
    if bytes(raw) == b'"required"' and "response_format" not in members:
        return None
    choice = read_choice(raw)
    tools = select(_tools.decode(members.get("tools", b"null")) or (), choice)
    changed = {name: value for name, value in members.items() if name not in {"tools", "tool_choice"}}
    if choice.mode == NONE:
        changed.pop("parallel_tool_calls", None)
    elif tools:
        changed["tools"] = msgspec.Raw(msgspec.json.encode(tools))
        changed["tool_choice"] = msgspec.Raw(b'"%b"' % choice.mode.encode())
        if choice.mode == REQUIRED:
            changed.pop("response_format", None)  # that of a text, which the engine would write instead
    return changed


def _mode(name: object) -> str:
    mode = _MODES.get(name, name) if isinstance(name, str) else None
    if mode not in (AUTO, REQUIRED, NONE):
        shown = repr(name[:64]) if isinstance(name, str) else "its type"
        raise _unknown(f"{shown} is not a choice")
    return mode


def _name_in(choice: object) -> str:
    """Return the name that a choice of one tool gives, as `name` or in a `function`; empty without one."""
    if isinstance(choice, dict):
        for holder in (choice, choice.get("function"), choice.get("custom")):
            if isinstance(holder, dict) and isinstance(name := holder.get("name"), str):
                return name
    return ""


def _unknown(why: str) -> RequestError:
    return RequestError(
        f"tool_choice cannot be followed: {why}.",
        remedy="Send auto, required or none, or name a tool of the request.",
        param="tool_choice",
    )

"""What does a request to Anthropic's API become, so that llama-server carries out all of it?

The engine serves `/v1/messages` itself, with gaps (b11434): it drops documents, search results and files
silently, forces no named tool, ignores `none`, `output_config` and `thinking: disabled`, and keeps
a billing stamp at the head of the system prompt, which differs in each conversation and so defeats its
prompt cache. Those members are rewritten; all others pass as they came. A format of the answer can only be
asked for in a chat request, so the whole conversation becomes one (`anthropic_chat`).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from relayd.dialects.hygiene import STAMP
from relayd.dialects.toolchoice import NONE, read_choice, select
from relayd.errors import RequestError

Members = Mapping[str, msgspec.Raw]

_BILLING = "x-anthropic-billing-header:"
_HEAD_BYTES = 2048
"""Where the stamp is looked for: it comes first."""

_EFFORTS = {"xhigh": "high", "max": "high"}
"""Efforts that templates do not know, and the nearest one that they do."""

_PLAIN_BLOCKS = frozenset({"text", "image", "tool_use", "tool_result", "thinking"})
_PLAIN_SOURCES = frozenset({"", "base64", "url"})
_DROPPED_BLOCKS = frozenset({"redacted_thinking"})
_LIST = ord("[")
_TYPED, _ESCAPE = b'"type"', b"\\u"
"""What each block has, and how its name could be written otherwise."""

_NO_MESSAGES = msgspec.Raw(b"[]")
_REWRITTEN = frozenset({
    "chat_template_kwargs", "output_config", "output_format", "system", "thinking", "tool_choice", "tools",
})  # fmt: skip
"""Members that may have to be changed, beside the messages."""


class _Source(msgspec.Struct, frozen=True, gc=False):
    type: str = ""


_NO_SOURCE = _Source()


class _Block(msgspec.Struct, gc=False):
    type: str = ""
    source: _Source | str = _NO_SOURCE
    content: msgspec.Raw = msgspec.Raw(b"null")


class _MessageTurn(msgspec.Struct, gc=False):
    content: list[_Block] | str | None = None


class _ServerTool(msgspec.Struct, gc=False):
    name: str = ""
    type: str | None = None


class _OutputConfig(msgspec.Struct, gc=False):
    effort: str | None = None
    format: dict[str, object] | None = None


class _Thinking(msgspec.Struct, gc=False):
    type: str = ""


_turns = msgspec.json.Decoder(list[_MessageTurn])
_blocks = msgspec.json.Decoder(list[_Block])
_raws = msgspec.json.Decoder(list[msgspec.Raw] | None)
_server_tool = msgspec.json.Decoder(_ServerTool)
_output_config = msgspec.json.Decoder(_OutputConfig | None)
_thinking = msgspec.json.Decoder(_Thinking | None)
_object = msgspec.json.Decoder(dict[str, object] | None)
_anything = msgspec.json.Decoder(object)


class EngineMessages(msgspec.Struct, frozen=True):
    """A request as the engine's own `/v1/messages` reads it.

    Attributes:
        members: Its members.
        left_out: Tools that only Anthropic's servers run.
        format: The JSON schema that the answer must follow; None where it is free.
        parallel: Whether several tools may be called at once; None where that is open.
    """

    members: Members
    left_out: tuple[str, ...] = ()
    format: object = None
    parallel: bool | None = None


def passes(members: Members) -> bool:
    """Return whether the engine reads all of a request as it came.

    Raises:
        RequestError: It holds what cannot be shown to a model.
    """
    return _REWRITTEN.isdisjoint(members) and _shown(members.get("messages", _NO_MESSAGES)) is None


def for_engine(members: Members, *, keeps_stamp: bool = False) -> EngineMessages:
    """Return a request as the engine reads it.

    Args:
        members: Of the client's body.
        keeps_stamp: The stamp of Claude Code stays. It is then in a message: the engine writes a whole system
            prompt into its log whose stamp has not the form that it knows (b11434).

    Raises:
        RequestError: It holds what cannot be shown to a model.
    """
    if passes(members):
        return EngineMessages(members)
    changed = dict(members)
    _replace(changed, "messages", _shown)
    if keeps_stamp:
        _move_stamped(changed)
    else:
        _replace(changed, "system", _without_billing)
    left_out, parallel = _offer_tools(changed)
    config = _read(members, "output_config", _output_config) or _OutputConfig()
    arguments = dict(_read(members, "chat_template_kwargs", _object) or {})
    if config.effort:
        arguments.setdefault("reasoning_effort", _EFFORTS.get(config.effort, config.effort))
    thinking = _read(members, "thinking", _thinking)
    if thinking is not None and thinking.type == "disabled":
        arguments.setdefault("enable_thinking", False)
    if arguments:
        changed["chat_template_kwargs"] = _written(arguments)
    wanted = config.format or _read(members, "output_format", _object)
    for name in ("output_config", "output_format"):
        changed.pop(name, None)
    return EngineMessages(changed, left_out, _schema_of(wanted), parallel)


def _schema_of(wanted: Mapping[str, object] | None) -> object:
    if not wanted:
        return None
    if wanted.get("type") != "json_schema" or not isinstance(schema := wanted.get("schema"), dict):
        raise RequestError(
            "The format of the answer is not a JSON schema.",
            remedy='Send {"type": "json_schema", "schema": {…}}.',
            param="output_config",
        )
    return schema


def _read(members: Members, name: str, decoder: msgspec.json.Decoder[Any]) -> Any:
    """Return what a member holds, None where it is left out.

    Raises:
        RequestError: It is of another kind.
    """
    try:
        return decoder.decode(members.get(name, b"null"))
    except msgspec.DecodeError as error:
        raise unreadable(name, error) from error


def unreadable(name: str, error: msgspec.DecodeError) -> RequestError:
    """Return the error of a member that has another shape than the API gives it."""
    _, _, place = str(error).partition(" - at `$")
    where = name + place.rstrip("`") if place else name
    return RequestError(f"{where[:200]} has not the type that the API gives it.", param=name)


def _replace(members: dict[str, msgspec.Raw], name: str, change: Any) -> None:
    if name in members and (changed := change(members[name])) is not None:
        members[name] = changed


def _written(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _without_billing(raw: msgspec.Raw) -> msgspec.Raw | None:
    """Return a system prompt without the stamp that Claude Code puts first; None where there is none."""
    if _BILLING.encode() not in bytes(memoryview(raw)[:_HEAD_BYTES]):
        return None
    system = _anything.decode(raw)
    if isinstance(system, str) and system.startswith(_BILLING):
        return _written(STAMP.sub("", system))
    if not isinstance(system, list):
        return None
    blocks = [
        {**block, "text": STAMP.sub("", _text_of(block))} if _text_of(block).startswith(_BILLING) else block
        for block in system
    ]
    return _written([block for block in blocks if _text_of(block)])


def _move_stamped(members: dict[str, msgspec.Raw]) -> None:
    """Make a system prompt with a stamp the first message."""
    raw = members.get("system", msgspec.Raw(b"null"))
    if _BILLING.encode() not in bytes(memoryview(raw)[:_HEAD_BYTES]):
        return
    system, messages = _anything.decode(raw), _raws.decode(members.get("messages", b"null")) or []
    blocks = system if isinstance(system, list) else ()
    text = system if isinstance(system, str) else "".join(map(_text_of, blocks))
    members["messages"] = _written([{"role": "system", "content": text}, *messages])
    del members["system"]


def _text_of(block: object) -> str:
    text = block.get("text") if isinstance(block, dict) else None
    return text if isinstance(text, str) else ""


def _shown(raw: msgspec.Raw) -> msgspec.Raw | None:
    """Return messages of which the engine reads every block; None where that is so already."""
    plain = bytes(raw)
    if _TYPED not in plain and _ESCAPE not in plain and plain[:2] == b"[{":
        return None  # no block has a type: every content is a string
    try:
        if all(map(_is_plain, _turns.decode(raw))):
            return None
        messages = msgspec.json.decode(raw, type=list[dict[str, Any]])
    except msgspec.DecodeError as error:
        raise unreadable("messages", error) from error
    for number, message in enumerate(messages):
        if isinstance(blocks := message.get("content"), list):
            message["content"] = [shown for block in blocks for shown in _block(block, f"messages[{number}]")]
    return _written(messages)


def _is_plain(turn: _MessageTurn) -> bool:
    blocks = turn.content
    if not isinstance(blocks, list):
        return True
    for block in blocks:
        if block.type == "text":
            continue
        if block.type not in _PLAIN_BLOCKS or not _has_plain_source(block):
            return False
        if block.type == "tool_result" and not _holds_plain(block.content):
            return False
    return True


def _holds_plain(content: msgspec.Raw) -> bool:
    if memoryview(content)[0] != _LIST:
        return True
    inner = _blocks.decode(content)
    return all(block.type in ("text", "image") and _has_plain_source(block) for block in inner)


def _has_plain_source(block: _Block) -> bool:
    return isinstance(block.source, _Source) and block.source.type in _PLAIN_SOURCES


def _block(block: object, where: str) -> Iterator[object]:
    """Yield what a block becomes for the engine.

    Raises:
        RequestError: It holds what cannot be shown to a model.
    """
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(block, dict) or not isinstance(kind, str):
        raise RequestError(f"{where} has a block without a type.", param="messages")
    source = block.get("source")
    if kind == "document":
        yield from _document(block, where)
    elif kind == "search_result":
        yield _text(
            "\n".join(filter(None, (_string(block, "title"), _string(block, "source"), _texts(block))))
        )
    elif kind == "tool_result" and isinstance(inner := block.get("content"), list):
        yield {**block, "content": [one for part in inner for one in _block(part, where)]}
    elif kind == "image" and isinstance(source, dict) and source.get("type") not in _PLAIN_SOURCES:
        raise _not_shown(where, f"an image of source {str(source.get('type'))[:40]!r}")
    elif kind in _PLAIN_BLOCKS:
        yield block
    elif kind not in _DROPPED_BLOCKS:
        raise _not_shown(where, f"a block of type {kind[:40]!r}")


def _document(block: Mapping[str, object], where: str) -> Iterator[object]:
    """Yield a document as text."""
    source = block.get("source")
    kind = source.get("type") if isinstance(source, dict) else None
    if not isinstance(source, dict) or kind not in ("text", "content"):
        raise _not_shown(where, f"a document of source {str(kind)[:40]!r}")
    text = _string(source, "data") if kind == "text" else _texts(source)
    yield _text(_string(block, "title"), _string(block, "context"), text)


def _text(*lines: str) -> dict[str, str]:
    return {"type": "text", "text": "\n".join(filter(None, lines))}


def _string(holder: Mapping[str, object], name: str) -> str:
    value = holder.get(name)
    return value if isinstance(value, str) else ""


def _texts(holder: Mapping[str, object]) -> str:
    """Return the text in the `content` of something: a string, or blocks of text."""
    content = holder.get("content")
    blocks = content if isinstance(content, list) else ()
    return content if isinstance(content, str) else "\n".join(map(_text_of, blocks))


def _not_shown(where: str, what: str) -> RequestError:
    return RequestError(
        f"{where} holds {what}, which cannot be shown to this model.",
        remedy="Send its text, or an image as base64.",
        param="messages",
    )


def _offer_tools(members: dict[str, msgspec.Raw]) -> tuple[tuple[str, ...], bool | None]:
    """Leave the tools that may be called, and the word the engine follows; return what was left out."""
    tools = _read(members, "tools", _raws) or []
    own, left_out = [], []
    for tool in tools:
        described = _read({"tools": tool}, "tools", _server_tool)
        if described.type in (None, "custom"):
            own.append(tool)
        else:
            left_out.append(described.name)
    raw = members.get("tool_choice")
    choice = read_choice(raw) if raw is not None else None
    chosen = own if choice is None else select(own, choice)
    if not chosen:
        members.pop("tools", None)
        members.pop("tool_choice", None)
    elif len(chosen) != len(tools):
        members["tools"] = _written(chosen)
    if chosen and choice is not None and choice.names is not None:
        members["tool_choice"] = msgspec.Raw(b'{"type":"any"}')
    used = () if choice is not None and choice.mode == NONE else left_out
    return tuple(used), choice.parallel if choice else None


def named(left_out: Iterable[str]) -> str:
    """Return what `X-Relayd-Changed` reports of tools that were left out."""
    names = [name[:64] for name in left_out if name.isascii() and name.isprintable()]
    return f"left out: tools {', '.join(names)}" if names else ""

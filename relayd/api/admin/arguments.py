"""How do path, query and body of a request become the arguments of a verb?"""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from relayd.api.admin.actions import NAME, Action
from relayd.errors import NotFoundError, RequestError


def find_action(actions: Iterable[Action], tail: str) -> tuple[Action, str]:
    """Return the action that a path means, and the name in it.

    Args:
        actions: Those whose paths begin alike, with one method.
        tail: The rest of the raw path.

    Raises:
        NotFoundError: There is none, or the name is missing.
    """
    known = sorted(actions, key=lambda one: -len(one.suffix))
    for action in known:
        if tail.endswith(action.suffix) and (name := unquote(tail.removesuffix(action.suffix))):
            return action, name
        if not action.named:
            return action, ""
    raise NotFoundError(
        f"There is nothing at {tail[:100]!r} here.",
        remedy=f"There is {', '.join(one.path for one in known)}.",
    )


def arguments_of(
    action: Action, kind: type[msgspec.Struct], *, name: str, query: str, body: bytes
) -> msgspec.Struct:
    """Return the arguments of a verb.

    Args:
        action: What is asked for.
        kind: The type of the arguments.
        name: The name in the path.
        query: Of the target; arguments of a GET stand there.
        body: JSON, or nothing.

    Raises:
        RequestError: The body is not a JSON object, or a member of it is unknown or of another type.
    """
    members = _members(body)
    if query:
        members |= dict(parse_qsl(query[:4096], keep_blank_values=True, max_num_fields=32))
    for theirs, ours in (action.renamed or {}).items():
        if theirs in members:
            members[ours] = members.pop(theirs)
    known = {one.encode_name for one in msgspec.structs.fields(kind)} - {action.others}
    if action.named:
        members.pop(action.named, None)
    others = {key: members.pop(key) for key in [*members] if key not in known}
    if action.others:
        members[action.others] = others
    free = _collected(action, kind)
    if free is not None and (unknown := others.keys() - free):
        raise RequestError(
            f"{min(unknown)[:100]!r} is not a member of this request.",
            remedy=f"Known are {', '.join(sorted((known | free) - {action.named})) or 'none'}.",
            param=min(unknown)[:100],
        )
    if action.named:
        members[action.named] = name
    try:
        arguments = msgspec.convert(members, kind, strict=not query)
    except msgspec.ValidationError as error:
        raise RequestError(f"Invalid arguments: {error}.", remedy=_described(action, known)) from error
    _check_nested(members, arguments, "")
    return arguments


def _check_nested(given: object, read: object, place: str) -> None:
    """Refuse a member, at any depth, that was not read: a mistyped limit would be none.

    Args:
        given: What was sent.
        read: What it became.
        place: Where in the body it stands.

    Raises:
        RequestError: There is one.
    """
    if isinstance(given, Mapping) and isinstance(read, msgspec.Struct):
        fields = {one.encode_name: one.name for one in msgspec.structs.fields(read)}
        if unknown := given.keys() - fields.keys():
            raise RequestError(
                f"{min(unknown)[:100]!r} is not a member of {place[:100] or 'this request'!r}.",
                remedy=f"Known are {', '.join(sorted(fields))}.",
                param=min(unknown)[:100],
            )
        for name, value in given.items():
            _check_nested(value, getattr(read, fields[name]), name)
    elif isinstance(given, list) and isinstance(read, tuple | list):
        for value, one in zip(given, read, strict=True):
            _check_nested(value, one, place)


def _collected(action: Action, kind: type[msgspec.Struct]) -> frozenset[str] | None:
    """Return the members that the argument for all others may have; None where they are not known here."""
    if not action.others:
        return frozenset()
    (found,) = (one for one in msgspec.structs.fields(kind) if one.name == action.others)
    is_struct = isinstance(found.type, type) and issubclass(found.type, msgspec.Struct)
    return frozenset(found.type.__struct_fields__) if is_struct else None


def _members(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body or b"{}", type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise RequestError(f"The body is not a JSON object: {error}.", remedy="Send {} for none.") from error
    except RecursionError as error:
        raise RequestError("The body is nested too deeply.") from error


def _described(action: Action, known: Iterable[str]) -> str:
    place = "path" if NAME in action.path else "body"
    return f"Members are {', '.join(sorted(known)) or 'none'}; the name stands in the {place}."

"""What changes one JSON document into another, by name (merge patch, RFC 7396)?

Lists are replaced as a whole, so those that change in parts are turned into objects first.
"""

from collections.abc import Mapping
from typing import Any

KEYED: Mapping[str, str] = {"models": "name", "replicas": "name", "accounts": "account", "nodes": "name"}
"""Member whose list becomes an object → the member of each element that is its name there, if all have it."""


_MOMENTS = 1e9
"""Larger numbers are moments (seconds since 1970), which differ by a hair from look to look."""


def keyed(value: Any) -> Any:
    """Return a document whose lists of named things are objects, and that has no null."""
    if isinstance(value, Mapping):
        return {name: _entry(name, one) for name, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [keyed(one) for one in value]
    return round(value, 1) if isinstance(value, float) and value > _MOMENTS else value


def _entry(name: str, value: Any) -> Any:
    by = KEYED.get(name)
    if by and isinstance(value, list | tuple) and all(by in one for one in value):
        return {one[by]: keyed(one) for one in value}
    return keyed(value)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the patch that turns one document into another; empty where they are equal."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := difference(before, value):
                patch[name] = inner
        elif before != value or type(before) is not type(value):
            patch[name] = value
    return patch


def patched(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with a patch applied."""
    result = dict(old)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            before = result.get(name)
            result[name] = patched(before if isinstance(before, Mapping) else {}, value)
        else:
            result[name] = value
    return result

"""The part of YAML that RelayServe's config.yaml is written in: tables in tables by indentation, and scalars.

A whole parser of YAML would be a dependency for one file of one program. Lists, anchors, several documents
and text over several lines are refused by their line.
"""

import re
from typing import Any

from relayd.errors import ConfigError

_LINE = re.compile(r"^( *)([A-Za-z0-9_.-]+|\"[^\"]*\"|'[^']*'):(?: +(.*))?$")
_COMMENT = re.compile(r"(^|\s)#.*$")


def read_nested(text: str) -> dict[str, Any]:
    """Return the tables of a document.

    Raises:
        ConfigError: A line is nothing of that.
    """
    root: dict[str, Any] = {}
    open_tables: list[tuple[int, dict[str, Any]]] = [(-1, root)]
    for number, raw in enumerate(text.splitlines(), 1):
        line = _COMMENT.sub("", raw).rstrip()
        if not line or line == "---":
            continue
        found = _LINE.match(line)
        if found is None:
            raise ConfigError(
                f"line {number}: {raw.strip()[:60]!r} is more of YAML than relayd reads",
                remedy="Write it as `key: value` lines, tables by indentation.",
            )
        indent, key, value = len(found[1]), found[2].strip("\"'"), found[3]
        while open_tables[-1][0] >= indent:
            open_tables.pop()
        table = open_tables[-1][1]
        if value is None:
            inner: dict[str, Any] = {}
            table[key] = inner
            open_tables.append((indent, inner))
        else:
            table[key] = _scalar(value)
    return root


def _scalar(text: str) -> str | int | float | bool | None:
    if text[:1] in ("'", '"') and text[-1:] == text[:1]:
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    if text in ("null", "~"):
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text

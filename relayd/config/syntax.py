"""What is wrong with a file that is not valid TOML: where, and how it is written."""

import re

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_PAIR = re.compile(r"\s*([\w.\"'-]+)\s*=\s*(\S.*?)\s*$")
_WORDS = {"True": "true", "False": "false", "yes": "true", "no": "false", "on": "true", "off": "false"}
_NOT_TEXT = ('"', "'", "[", "{", "#")


def syntax_problem(error: Exception, content: bytes) -> str:
    """Return `:LINE:COLUMN: what is wrong`, as far as the parser reports it, and how to write it."""
    if isinstance(error, UnicodeDecodeError):
        before = content[: error.start].split(b"\n")
        return f":{len(before)}:{len(before[-1]) + 1}: not UTF-8"
    if isinstance(error, RecursionError):
        return ": nested too deeply"
    message = str(error)
    if (place := _PLACE.search(message)) is None:
        return f": {message}"
    rows = content.rstrip(b"\n").split(b"\n")
    line = int(place[1]) if place[1] else len(rows)
    column = place[2] or len(rows[-1].decode()) + 1
    text = rows[line - 1].decode("utf-8", "replace") if line <= len(rows) else ""
    return f":{line}:{column}: {message[: place.start()]}{_how(text)}"


def _how(line: str) -> str:
    """Return how a line is written, or ""."""
    found = _PAIR.match(line)
    if not found:
        return ""
    key, value = found[1], found[2]
    bare = value.partition(" #")[0].strip()
    if bare in _WORDS:
        return f"; write {key} = {_WORDS[bare]}"
    if not value.startswith(_NOT_TEXT):
        return f'; put text in quotes: {key} = "{bare}"'
    if value.startswith('"') and "\\" in value:
        return f"; a backslash needs single quotes: {key} = '{bare.strip(chr(34))}'"
    return ""

"""Text from elsewhere, as it may be shown on a terminal: without what could command it."""

import re

_ESCAPE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links, clipboard
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # cursor and colour
    r"|\x1b[PX^_][^\x1b]*\x1b\\"  # device strings
    r"|\x1b[@-_]?"  # the rest
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f]"  # control
    r"|[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"  # text direction, line ends
)


_COLOUR_OR_ESCAPE = re.compile(rf"(\x1b\[[0-9;]*m)|{_ESCAPE.pattern}")


def printable(line: str) -> str:
    """Return a line without anything that could command a terminal."""
    return _ESCAPE.sub("", line)


def coloured(line: str) -> str:
    """Return a line without anything that could command a terminal, but for colours."""
    return _COLOUR_OR_ESCAPE.sub(lambda found: found[1] or "", line)

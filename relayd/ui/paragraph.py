"""Text in lines of a width, broken between words and never inside a path, an address or a command."""

import textwrap


def wrapped(text: str, width: int, begun: int = 0) -> list[str]:
    """Return text in lines of whole words, what it has between quotes of commands kept together.

    Args:
        text: Its lines are paragraphs.
        width: Columns; 0 breaks no line.
        begun: Columns of the first line that are taken already.
    """
    if not width:
        return text.splitlines()
    lines: list[str] = []
    for paragraph in text.splitlines():
        taken = "\x01" * (0 if lines else begun)
        lines += textwrap.wrap(
            taken + _together(paragraph), width, break_long_words=False, break_on_hyphens=False
        )
    return [line.replace(_SPACE, " ").lstrip("\x01") for line in lines]


_SPACE = "\x00"
"""Stands for a space within a command while lines are broken."""


def _together(text: str) -> str:
    """Return text in which no space between backquotes breaks a line."""
    parts = text.split("`")
    return "`".join(part.replace(" ", _SPACE) if number % 2 else part for number, part in enumerate(parts))

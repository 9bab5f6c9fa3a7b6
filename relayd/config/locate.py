"""Line numbers of the keys of a TOML document.

The standard parser gives values without lines. This one walks a document that parser has already accepted,
so it looks for keys only and may trust the syntax.
"""

import re
import tomllib
from collections.abc import Mapping

KeyPath = tuple[str | int, ...]
"""Keys from the top, with positions from 0 in arrays: `("model", 1, "lora", 0, "file")`."""

_BLANK = re.compile(r"(?:[\s,]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*("(?:\\.|[^"\\])*"|'[^']*'|[A-Za-z0-9_-]+)[ \t]*""")
_SCALAR = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'"
    r"|[^,\]}#\n]+",
    re.DOTALL,
)


def lines(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, where each table, key and array item of valid TOML is first named."""
    return _Walk(text).document()


def locate(known: Mapping[KeyPath, int], path: KeyPath) -> int:
    """Return the line of `path`, or of the nearest table around it that has one."""
    while path and path not in known:
        path = path[:-1]
    return known.get(path, 1)


class _Walk:
    """A position in the text that moves forward once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._found: dict[KeyPath, int] = {}
        self._array_lengths: dict[KeyPath, int] = {}

    def document(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip(_BLANK) < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._found

    def _skip(self, pattern: re.Pattern[str]) -> int:
        if found := pattern.match(self._text, self._at):
            self._at = found.end()
        return self._at

    def _header(self) -> KeyPath:
        """Read `[a.b]` or `[[a.b]]` and return the table that the next pairs belong to."""
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        start = self._at
        self._at += brackets
        keys = self._keys()
        self._at += brackets
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self._newest((*path, key), start)
        path = (*path, keys[-1])
        if brackets == 2:
            self._array_lengths[path] = self._array_lengths.get(path, 0) + 1
        return self._newest(path, start)

    def _newest(self, path: KeyPath, start: int) -> KeyPath:
        """Note `path`, and return it or, for an array of tables, its last table."""
        self._note(path, start)
        if path in self._array_lengths:
            path = (*path, self._array_lengths[path] - 1)
            self._note(path, start)
        return path

    def _note(self, path: KeyPath, start: int) -> None:
        self._found.setdefault(path, self._text.count("\n", 0, start) + 1)

    def _keys(self) -> list[str]:
        """Read a key, dotted or not, up to what follows it."""
        keys = [self._key()]
        while self._text[self._at] == ".":
            self._at += 1
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        start = self._at
        token = self._text[start : self._skip(_KEY)].strip()
        if token[0] not in "\"'":
            return token
        return str(tomllib.loads(f"key = {token}")["key"])

    def _pair(self, table: KeyPath) -> None:
        start = self._at
        path = table
        for key in self._keys():
            path = (*path, key)
            self._note(path, start)
        self._at += len("=")
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        opening = self._text[self._skip(_BLANK)]
        if opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        index = 0
        while self._text[self._skip(_BLANK)] != "]":
            self._note((*path, index), self._at)
            self._value((*path, index))
            index += 1
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while self._text[self._skip(_BLANK)] != "}":
            self._pair(path)
        self._at += 1

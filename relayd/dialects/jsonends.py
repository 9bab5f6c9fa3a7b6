"""How does the beginning of a JSON value become a whole one, by text that is only added behind it?

A model whose answer was cut leaves the arguments of a call open, and an engine that reads them with the next
request refuses the whole conversation. Everything that a JSON text may begin with can be ended.
"""

import re
from collections.abc import Iterable

import msgspec

_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4})*')
_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{0,3})?\Z")
_NUMBER = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][+-]?[0-9]*)?)?")
_WHOLE_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
_SPACE = re.compile(r"[ \t\n\r]*")
_WORDS = ("true", "false", "null")

_VALUE, _FIRST_VALUE, _FIRST_KEY, _KEY, _COLON, _NEXT = range(6)
"""What may come: a value, a value or `]`, a key or `}`, a key, a colon, a comma or the closing bracket."""

_MISSING = {_VALUE: "null", _FIRST_VALUE: "", _FIRST_KEY: "", _KEY: '"":null', _COLON: ":null", _NEXT: ""}
_CLOSING = {"{": "}", "[": "]"}
_CLOSABLE = frozenset({_FIRST_VALUE, _FIRST_KEY, _NEXT})


def ending_of(text: str) -> str | None:
    """Return what a text lacks to be one JSON value; empty for a whole one, None where nothing helps."""
    begun = _Begun(text)
    while begun.goes_on():
        if not (begun.punctuated() or begun.opened() or begun.read_scalar()):
            return None
    return begun.ending()


class _Begun:
    """The beginning of a JSON value, read as far as it goes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._open: list[str] = []
        self._wanted = _VALUE
        self._lacks = ""

    def __repr__(self) -> str:
        return f"<_Begun at={self._at} open={len(self._open)}>"

    def goes_on(self) -> bool:
        """Return whether there is more behind the space that comes now."""
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at < len(self._text)

    def ending(self) -> str:
        """Return what it lacks."""
        return self._lacks + _MISSING[self._wanted] + "".join(_CLOSING[one] for one in reversed(self._open))

    def punctuated(self) -> bool:
        """Read a colon, a comma or a closing bracket, if one comes where it may."""
        sign, wanted = self._text[self._at], self._wanted
        if wanted == _COLON and sign == ":":
            self._wanted = _VALUE
        elif wanted == _NEXT and self._open and sign == ",":
            self._wanted = _KEY if self._open[-1] == "{" else _VALUE
        elif wanted in _CLOSABLE and self._open and sign == _CLOSING[self._open[-1]]:
            self._open.pop()
            self._wanted = _NEXT
        else:
            return False
        self._at += 1
        return True

    def opened(self) -> bool:
        """Read an opening bracket, if one comes where it may."""
        sign = self._text[self._at]
        if self._wanted not in (_VALUE, _FIRST_VALUE) or sign not in _CLOSING:
            return False
        self._open.append(sign)
        self._wanted = _FIRST_KEY if sign == "{" else _FIRST_VALUE
        self._at += 1
        return True

    def read_scalar(self) -> bool:
        """Read a key, a string, a number or a word, if one comes where it may."""
        is_key = self._wanted in (_FIRST_KEY, _KEY)
        if self._wanted in (_COLON, _NEXT) or (is_key and self._text[self._at] != '"'):
            return False
        self._at, self._lacks = _scalar(self._text, self._at)
        self._wanted = _COLON if is_key else _NEXT
        return self._at >= 0


def _scalar(text: str, at: int) -> tuple[int, str]:
    """Return where a string, a number or a word ends, and what it lacks; -1 where it is none."""
    if text[at] == '"':
        return _string(text, at)
    end = len(text)
    for word in _WORDS:
        given = text[at : at + len(word)]
        if word.startswith(given) and (given == word or at + len(given) == end):
            return at + len(given), word[len(given) :]
    found = _NUMBER.match(text, at)
    if found is None or not found[0]:
        return -1, ""
    if _WHOLE_NUMBER.match(found[0]):
        return found.end(), ""
    return (end, "0") if found.end() == end else (-1, "")


def _string(text: str, at: int) -> tuple[int, str]:
    found, end = _STRING.match(text, at), len(text)
    stop = found.end() if found else at
    if text[stop : stop + 1] == '"':
        return stop + 1, ""
    if stop == end:
        return end, '"'
    if (cut := _ESCAPE.match(text, stop)) is None:
        return -1, ""
    return end, ("\\" if cut[0] == "\\" else "0" * (6 - len(cut[0]))) + '"'


def lacking(pieces: Iterable[str]) -> str:
    """Return what the pieces of a JSON text lack together; empty where nothing helps."""
    text = "".join(pieces)
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return ending_of(text) or ""
    return ""

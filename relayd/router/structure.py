"""How much structure does a body hold: counted before anything is decoded, and as its pieces arrive?

A decoder holds the event loop for as long as it runs, in a thread too: 16 MB of a million small objects
take it 0.6 s. Counting takes 0.2 ns a byte of text, at most 0.1 µs a token, and can stop between two pieces.
"""

import re
from codecs import getincrementaldecoder
from typing import NoReturn

from relayd.errors import RequestError
from relayd.units import KIB

MOST_DEPTH = 64
MOST_TOKENS = 1_000_000
"""Strings, commas, colons and brackets: a million numbers, or half as many strings, in one body."""

MOST_CONTAINERS = 25_000
"""Lists and objects: each costs a decoder 0.5 to 1.2 µs."""

MOST_MEMBERS = 1_024
"""Members of a body itself, nine times those that a server knows: judging 300,000 of them takes 4 s."""

_PIECE = 64 * KIB
"""Bytes counted without a pause: 2 ms of nothing but brackets."""

_MOST_BLANK = 16
"""Pieces in a row that are nothing but white space: 1 MiB takes a regular expression 2 ms."""

_RUNS = re.compile(rb",+|[\[\]]")
_OPENING = ord("[")
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_NO_SEPARATORS = bytes(sorted(set(range(256)) - set(b"[]{},")))


class Structure:
    """Counts the structure of one JSON text; what is not valid JSON is counted somehow, and decoded never.

    Attributes:
        tokens: Strings, separators and brackets so far.
        containers: Lists and objects so far.
        names: Members of objects so far.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self.containers = 0
        self.names = 0
        self._depth = 0
        self._blank = 0
        self._in_string = False
        self._escape = b""

    def __repr__(self) -> str:
        return f"<Structure tokens={self.tokens} containers={self.containers} depth={self._depth}>"

    def feed(self, piece: bytes) -> None:
        """Count the next bytes, `_PIECE` of them at a time.

        Raises:
            RequestError: There is more structure, or deeper, than a body may hold.
        """
        for start in range(0, len(piece), _PIECE):
            self._count(piece[start : start + _PIECE])

    def _count(self, piece: bytes) -> None:
        text, self._escape = _without_escapes(self._escape + piece)
        parts = text.split(b'"')
        outside = b" ".join(parts[self._in_string :: 2])
        self._blank = self._blank + 1 if len(parts) == 1 and outside.isspace() else 0
        if self._blank > _MOST_BLANK:
            raise RequestError(
                f"The body has more than {_MOST_BLANK * _PIECE:,} bytes of white space in a row."
            )
        brackets = outside.translate(_AS_SQUARE, _NO_BRACKETS)
        strings = (len(parts) - self._in_string) // 2
        self._in_string ^= len(parts) % 2 == 0
        self.containers += brackets.count(b"[")
        names = outside.count(b":")
        self.names += names
        self.tokens += strings + len(brackets) + outside.count(b",") + names
        if self.tokens > MOST_TOKENS:
            raise RequestError(f"The body holds more than {MOST_TOKENS:,} strings, separators and brackets.")
        if self.containers > MOST_CONTAINERS:
            raise RequestError(f"The body holds more than {MOST_CONTAINERS:,} lists and objects.")
        self._follow(brackets)

    def separators(self, piece: bytes, most: int) -> int:
        """Return how many commas of the next piece separate items of the outermost list, up to `most`."""
        text, self._escape = _without_escapes(self._escape + piece)
        parts = text.split(b'"')
        outside = b" ".join(parts[self._in_string :: 2])
        self._in_string ^= len(parts) % 2 == 0
        found = 0
        for run in _RUNS.findall(outside.translate(_AS_SQUARE, _NO_SEPARATORS)):
            if run.startswith(b","):
                found += len(run) * (self._depth == 1)
                if found > most:
                    break
            else:
                self._depth += 1 if run == b"[" else -1
        return found

    def _follow(self, brackets: bytes) -> None:
        """Follow the depth: round after round the innermost pairs are taken away, at memory speed."""
        start, rounds, left = self._depth, 0, brackets
        while b"[]" in left and rounds <= MOST_DEPTH:
            left, rounds = left.replace(b"[]", b""), rounds + 1
        self._depth += 2 * brackets.count(b"[") - len(brackets)
        if max(start, self._depth) + rounds > MOST_DEPTH:
            for bracket in brackets:
                start += 1 if bracket == _OPENING else -1
                if start > MOST_DEPTH:
                    refuse_depth()


def count_items(raw: bytes, most: int) -> int:
    """Return how many items a valid list or object has, or any number above `most` once there are so many."""
    structure = Structure()
    items = 1
    for start in range(0, len(raw), _PIECE):
        items += structure.separators(raw[start : start + _PIECE], most - items)
        if items > most:
            break
    return items


def check_utf8(raw: bytes) -> None:
    """Raise UnicodeDecodeError where a text is not UTF-8; a long one is read in pieces."""
    if raw.isascii():
        return
    decoder = getincrementaldecoder("utf-8")()
    for start in range(0, len(raw), _PIECE):
        try:
            decoder.decode(raw[start : start + _PIECE], final=start + _PIECE >= len(raw))
        except UnicodeDecodeError as error:
            error.start += max(0, start - len(error.object) + min(_PIECE, len(raw) - start))
            raise


def check_members(raw: bytes, structure: Structure) -> None:
    """Count the members of a long body itself, where it can have too many.

    Raises:
        RequestError: There are more than a body may have.
    """
    if structure.names > MOST_MEMBERS and count_items(raw, MOST_MEMBERS) > MOST_MEMBERS:
        refuse_members()


def refuse_members() -> NoReturn:
    """Refuse a body of too many members.

    Raises:
        RequestError: Always.
    """
    raise RequestError(f"The body has more than {MOST_MEMBERS:,} members.")


def refuse_depth() -> NoReturn:
    """Refuse a body that is nested too deeply.

    Raises:
        RequestError: Always.
    """
    raise RequestError(f"The body is nested deeper than {MOST_DEPTH} levels.")


def _without_escapes(text: bytes) -> tuple[bytes, bytes]:
    """Return a text without escaped quotes, and an escape at its end that the next piece completes."""
    if b"\\" not in text:
        return text, b""
    text = text.replace(rb"\\", b"")
    cut = text.endswith(b"\\")
    return text[: len(text) - cut].replace(rb"\"", b""), b"\\" * cut

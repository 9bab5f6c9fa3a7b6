"""Which characters does one place of a grammar accept, as it is written, and can any text follow it (GBNF)?

llama-server reads `[z-a]` without an error and finds after the first token that nothing fits.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

_UNIT = re.compile(r"\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}|\\.|.", re.DOTALL)
_ESCAPED = {"n": 10, "r": 13, "t": 9}
_ESCAPES = frozenset('nrt\\"[]-')
"""What a backslash may stand before, besides hexadecimal digits (`parse_char` in llama-grammar.cpp)."""

_TYPICAL = (97, 48, 32, 65, 34)
"""Characters to try where all but some are accepted."""

_TEXT = ((1, 0xD7FF), (0xE000, 0x10FFFF))
"""What a text can hold: no NUL, no half of a surrogate pair, nothing beyond Unicode."""

Ranges = Sequence[tuple[int, int]]


class Characters:
    """One place for a character: ranges of them, or all but those."""

    def __init__(self, ranges: Ranges, *, negated: bool = False) -> None:
        self._ranges = ranges
        self._negated = negated
        self.sample = ranges[0][0] if ranges and not negated else next(filter(self.accepts, _TYPICAL), 0)

    def __repr__(self) -> str:
        return f"<Characters {'not ' * self._negated}{self._ranges}>"

    def accepts(self, character: int) -> bool:
        """Return whether a character fits."""
        return self._negated != any(low <= character <= high for low, high in self._ranges)

    def accepts_any(self) -> bool:
        """Return whether any character that a text can hold fits."""
        if not self._negated:
            return any(low <= high and _meets_text(low, high) for low, high in self._ranges)
        return any(_meets_text(low, high) for low, high in _gaps(self._ranges))


def places(kind: str, text: str) -> Iterator[Characters]:
    """Yield each place of a literal, or the one of a set; none for tokens, which no text is matched with."""
    if kind == "any":
        yield Characters((), negated=True)
    elif kind == "literal":
        yield from (Characters([(one, one)]) for one in map(_code, _UNIT.findall(text)))
    elif kind == "set":
        negated = text.startswith("^")
        yield Characters(list(_ranges(_UNIT.findall(text[negated:]))), negated=negated)


def mistake(kind: str, text: str) -> str:
    """Return why the engine cannot read or follow a literal or a set, in words; empty when it can."""
    if kind == "literal" and "\\" not in text and text.isprintable():
        return ""
    units = _UNIT.findall(text.removeprefix("^") if kind == "set" else text)
    for unit in units:
        if len(unit) == 2 and unit[1] not in _ESCAPES:
            return f"has an escape that GBNF does not know, {unit[:2]!a}"
        if _code(unit) > _TEXT[-1][1]:
            return f"names a character beyond Unicode, {unit}"
    if kind == "set":
        for low, high in _ranges(units):
            if low > high:
                return f"has a range that ends before it begins, [{_shown(low)}-{_shown(high)}]"
    if units and not all(place.accepts_any() for place in places(kind, text)):
        return "has a place that no character of a text fits"
    return ""


def has_known_escapes(text: str) -> bool:
    """Return whether the engine knows each escape in a literal or set."""
    return all(len(unit) != 2 or unit[1] in _ESCAPES for unit in _UNIT.findall(text))


def _ranges(units: Sequence[str]) -> Iterator[tuple[int, int]]:
    position = 0
    while position < len(units):
        is_range = position + 2 < len(units) and units[position + 1] == "-"
        yield _code(units[position]), _code(units[position + 2 * is_range])
        position += 3 if is_range else 1


def _code(unit: str) -> int:
    if len(unit) > 2:
        return int.from_bytes(bytes.fromhex(unit[2:]))
    return _ESCAPED.get(unit[1], ord(unit[1])) if len(unit) == 2 else ord(unit)


def _meets_text(low: int, high: int) -> bool:
    return any(max(low, first) <= min(high, last) for first, last in _TEXT)


def _gaps(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield what ranges leave of all characters."""
    begin = 0
    for low, high in sorted(ranges):
        if low > begin:
            yield begin, low - 1
        begin = max(begin, high + 1)
    if begin <= _TEXT[-1][1]:
        yield begin, _TEXT[-1][1]


def _shown(character: int) -> str:
    return chr(character) if chr(character).isprintable() else f"\\u{character:04X}"

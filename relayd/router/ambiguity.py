"""Do the places that a grammar's text may be at multiply with every character (ambiguous recursion)?

llama-server follows each of them as a stack of its own: `root ::= "a" root "b" | "a" root "c"` has twice as
many after each character, so that token 15 took it 28 s and the next one minutes. Followed here are a few
dozen characters from the beginning of every rule, always those that most stacks accept. That finds what
multiplies; what hides it behind other texts is found while it runs (`supervisor/stall`).
"""

import re
from collections.abc import Iterator, Sequence
from typing import Protocol

MOST_STACKS = 2_000
"""At one place: 4,096 of them took the engine 0.9 s a token of one character."""

_CHARACTERS = 48
_CHOICES = 12
"""Different characters that are tried at one place."""

_STEPS = 100_000
"""What one grammar may take, 0.15 s of a thread; a grammar that takes more is not judged."""

_UNIT = re.compile(r"\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}|\\.|.", re.DOTALL)
_ESCAPED = {"n": 10, "r": 13, "t": 9}
_TYPICAL = (97, 48, 32, 65, 34)
"""Characters to try where all but some are accepted."""

_AGAIN = -1
"""Instead of an offset: the item has matched and may match again."""


class Symbol(Protocol):
    """One item of a sequence: a rule by its number, or characters (`kind` and `text`, as written)."""

    rule: int
    kind: str
    text: str
    optional: bool
    repeats: bool


class _Characters:
    """One place for a character: ranges of them, or all but those."""

    def __init__(self, ranges: Sequence[tuple[int, int]], *, negated: bool = False) -> None:
        self._ranges = ranges
        self._negated = negated
        self.sample = ranges[0][0] if ranges and not negated else next(filter(self.accepts, _TYPICAL), 0)

    def __repr__(self) -> str:
        return f"<_Characters {'not ' * self._negated}{self._ranges}>"

    def accepts(self, character: int) -> bool:
        return self._negated != any(low <= character <= high for low, high in self._ranges)


class _TooLong(Exception):  # noqa: N818 - never leaves this module
    """The work is done, whatever is found."""


_Stack = tuple[int, int, int, "_Stack | None"]
"""Sequence, item, offset within its characters, and what follows when the sequence is over."""


class _Reading:
    """Follows texts through one grammar."""

    def __init__(self, alternatives: Sequence[Sequence[Sequence[Symbol]]]) -> None:
        self._sequences: list[Sequence[Symbol]] = []
        self._rules: list[range] = []
        for sequences in alternatives:
            first = len(self._sequences)
            self._sequences += sequences
            self._rules.append(range(first, len(self._sequences)))
        self._places: dict[tuple[int, int], list[_Characters]] = {}
        self._left = _STEPS

    def __repr__(self) -> str:
        return f"<_Reading of {len(self._rules)} rules, {self._left} steps left>"

    def multiplies(self, rule: int) -> bool:
        """Return whether the stacks become too many, from the beginning of a rule."""
        stacks = self._settle([(sequence, 0, 0, None) for sequence in self._rules[rule]])
        for _ in range(_CHARACTERS):
            if len(stacks) > MOST_STACKS:
                return True
            stacks = self._settle(self._accepted(stacks))
        return False

    def _settle(self, todo: list["_Stack | None"]) -> set[_Stack]:
        """Return the places of characters that stacks lead to; more than are allowed end the search."""
        seen, found = set[_Stack](), set[_Stack]()
        while todo and len(found) <= MOST_STACKS:
            stack = todo.pop()
            if stack is None or stack in seen:
                continue
            seen.add(stack)
            self._spend(1)
            sequence, index, offset, rest = stack
            if index == len(self._sequences[sequence]):
                todo.append(rest)
                continue
            item = self._sequences[sequence][index]
            if offset == _AGAIN:
                todo += [(sequence, index, 0, rest), (sequence, index + 1, 0, rest)]
                continue
            if item.optional and not offset:
                todo.append((sequence, index + 1, 0, rest))
            if item.rule >= 0:
                after = self._after(sequence, index, rest)
                todo += [(inner, 0, 0, after) for inner in self._rules[item.rule]]
            elif self._characters(sequence, index):
                found.add(stack)
        return found

    def _after(self, sequence: int, index: int, rest: "_Stack | None") -> "_Stack | None":
        """Return the stack after an item has matched; the last one of a sequence leaves nothing of it."""
        if self._sequences[sequence][index].repeats:
            return sequence, index, _AGAIN, rest
        return (sequence, index + 1, 0, rest) if index + 1 < len(self._sequences[sequence]) else rest

    def _accepted(self, stacks: set[_Stack]) -> list["_Stack | None"]:
        """Return the stacks that follow the character which most of them accept."""
        places = [(stack, self._characters(stack[0], stack[1])[stack[2]]) for stack in stacks]
        tried = dict.fromkeys(place.sample for _, place in places)
        best: list[_Stack] = []
        for character in list(tried)[:_CHOICES]:
            self._spend(len(places))
            accepting = [stack for stack, place in places if place.accepts(character)]
            best = max(best, accepting, key=len)
        return list(map(self._moved, best))

    def _moved(self, stack: _Stack) -> "_Stack | None":
        sequence, index, offset, rest = stack
        if offset + 1 < len(self._characters(sequence, index)):
            return sequence, index, offset + 1, rest
        return self._after(sequence, index, rest)

    def _characters(self, sequence: int, index: int) -> list[_Characters]:
        places = self._places.get((sequence, index))
        if places is None:
            places = self._places[sequence, index] = list(_read(self._sequences[sequence][index]))
        return places

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _TooLong


def multiplies(alternatives: Sequence[Sequence[Sequence[Symbol]]]) -> bool:
    """Return whether the stacks of a grammar without left recursion become too many; 0.15 s at most.

    Args:
        alternatives: Of each rule, by number: its sequences.
    """
    reading = _Reading(alternatives)
    try:
        return any(reading.multiplies(rule) for rule in range(len(alternatives)))
    except _TooLong:
        return False


def _read(item: Symbol) -> Iterator[_Characters]:
    """Yield each place of a literal, or the one of a set; none for tokens, which no text is matched with."""
    if item.kind == "any":
        yield _Characters((), negated=True)
    elif item.kind == "literal":
        yield from (_Characters([(one, one)]) for one in map(_code, _UNIT.findall(item.text)))
    elif item.kind == "set":
        negated = item.text.startswith("^")
        yield _Characters(list(_ranges(_UNIT.findall(item.text[negated:]))), negated=negated)


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

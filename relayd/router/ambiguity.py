"""Do the places that a grammar's text may be at multiply with every character (ambiguous recursion)?

llama-server follows each of them as a stack of its own: `root ::= "a" root "b" | "a" root "c"` has twice as
many after each character, so that token 15 took it 28 s and the next one minutes. Followed here are a few
dozen characters from the beginning of every rule, always those that most stacks accept. That finds what
multiplies; what hides it behind other texts is found while it runs (`supervisor/stall`).
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from relayd.router.characters import Characters, places

MOST_STACKS = 2_000
"""At one place, each waiting for a character."""

MOST_ALIKE = 100
"""Stacks that go on with the same character: each takes the engine 2 to 4 ms a token with a vocabulary of
150,000, for as long as they are alike."""

_CHARACTERS = 48
"""How far a text is followed from the beginning of each rule."""

_TIES = 3
_CHOICES = 12
"""Different characters that are tried at one place."""

_STEPS = 100_000
"""What one grammar may take, 0.4 s of a thread at most; a grammar that takes more is not judged."""

_AGAIN = -1
"""Instead of an offset: the item has matched and may match again."""


class Symbol(Protocol):
    """One item of a sequence: a rule by its number, or characters (`kind` and `text`, as written)."""

    rule: int
    kind: str
    text: str
    optional: bool
    repeats: bool


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
        self._places: dict[tuple[int, int], list[Characters]] = {}
        self._left = _STEPS

    def __repr__(self) -> str:
        return f"<_Reading of {len(self._rules)} rules, {self._left} steps left>"

    def multiplies(self, rule: int, characters: int) -> bool:
        """Return whether the stacks become too many, from the beginning of a rule."""
        stacks = self._settle([(sequence, 0, 0, None) for sequence in self._rules[rule]])
        for position in range(characters):
            accepted = self._accepted(stacks)
            if len(stacks) > MOST_STACKS or any(len(one) > MOST_ALIKE for one in accepted):
                return True
            if not accepted or (position >= _CHARACTERS and len(accepted[0]) == 1):
                return False
            stacks = max(map(self._settle, accepted), key=len)
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

    def _accepted(self, stacks: set[_Stack]) -> list[list["_Stack | None"]]:
        """Return the stacks that follow the characters which most of them accept; several where those tie."""
        waiting = [(stack, self._characters(stack[0], stack[1])[stack[2]]) for stack in stacks]
        tried = dict.fromkeys(place.sample for _, place in waiting)
        best: list[list[_Stack]] = []
        for character in list(tried)[:_CHOICES]:
            self._spend(len(waiting))
            accepting = [stack for stack, place in waiting if place.accepts(character)]
            if best and len(accepting) > len(best[0]):
                best = []
            if not best or len(accepting) == len(best[0]):
                best.append(accepting)
        return [list(map(self._moved, one)) for one in best[:_TIES]]

    def _moved(self, stack: _Stack) -> "_Stack | None":
        sequence, index, offset, rest = stack
        if offset + 1 < len(self._characters(sequence, index)):
            return sequence, index, offset + 1, rest
        return self._after(sequence, index, rest)

    def _characters(self, sequence: int, index: int) -> list[Characters]:
        found = self._places.get((sequence, index))
        if found is None:
            item = self._sequences[sequence][index]
            found = self._places[sequence, index] = list(places(item.kind, item.text))
        return found

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _TooLong


def multiplies(
    alternatives: Sequence[Sequence[Sequence[Symbol]]],
    starts: Iterable[int] | None = None,
    characters: int = _CHARACTERS,
) -> bool:
    """Return whether the stacks of a grammar without left recursion become too many; 0.4 s at most.

    Args:
        alternatives: Of each rule, by number: its sequences.
        starts: The rules from whose beginning texts are followed; all by default.
        characters: How far.
    """
    reading = _Reading(alternatives)
    try:
        return any(reading.multiplies(rule, characters) for rule in starts or range(len(alternatives)))
    except _TooLong:
        return False

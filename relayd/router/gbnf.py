"""What would a grammar cost the engine: how large does it become, and how often does it branch (GBNF)?

llama-server expands repetitions when it reads a grammar, and follows every way to begin when it places a
token: 570 bytes that name each rule twice took 19.5 GB, 30,000 parentheses its stack. Reading is linear
here, and nothing recurses.
"""

import re
from dataclasses import dataclass, field

from relayd.router.ambiguity import multiplies
from relayd.router.characters import mistake

MOST_BYTES = 64 * 1024
MOST_NESTING = 100
"""Parentheses within each other; a call of the engine's parser each."""

MOST_ELEMENTS = 200_000
"""Elements after expansion, 8 to 16 bytes each, some copies of them alive at a time."""

MOST_WAYS = 100
"""Ways to begin at one place: each takes the engine 2 to 4 ms of CPU a token with a vocabulary of 150,000,
where the grammars that come with it take up to 240 ms."""

MOST_WORK = 3_000_000
"""Steps for one character, of 5 ns or so: the square of the ways that follow, for each way before."""

MOST_CHAIN = 250
"""Rules that begin with each other; two calls of the engine each."""

_RULE_ELEMENTS = 16
"""What a rule of its own takes besides its elements: a name in a map, a vector."""

_ENGINE_REPEATS = 2_000
"""`MAX_REPETITION_THRESHOLD`: more repetitions are read as any number."""

_UNREADABLE = "cannot be read"

AMBIGUOUS = (
    "can go on in more and more ways with each character (ambiguous recursion); write it so that the next "
    "characters decide between the alternatives of a rule that contains itself"
)

_TOKEN = re.compile(
    r"""(?P<space>[ \t]+|\#[^\r\n]*)
    |(?P<line>\r\n|\r|\n)
    |(?P<name>[A-Za-z0-9-]+)
    |(?P<define>::=)
    |"(?P<literal>[^"\\]*(?:\\.[^"\\]*)*)"
    |\[(?P<set>[^\]\\]*(?:\\.[^\]\\]*)*)\]
    |(?P<token>!?<[^<>]*>)
    |(?P<any>\.)
    |(?P<repeat>[*+?]|\{\s*(?P<least>\d{1,18})\s*(?P<comma>,)?\s*(?P<most>\d{1,18})?\s*\})
    |(?P<open>\()
    |(?P<close>\))
    |(?P<or>\|)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Start:
    """How a rule or sequence can begin.

    Attributes:
        ways: Places of characters that it can begin at.
        short: Those after which it can be over, so that what follows it can begin.
        work: Sum over the ways of the square of the ways that follow one character later.
    """

    ways: int
    short: int
    work: int


_NOWHERE = _Start(0, 0, 0)
_UNSEEN, _OPEN = _Start(0, 0, 0), _Start(0, 0, 0)
"""Marks of rules that are not counted yet; compared by identity."""

_ONE_CHARACTER, _CHARACTERS = _Start(1, 1, 0), _Start(1, 0, 0)


class _Refused(Exception):  # noqa: N818 - the reason is its message, and it never leaves this module
    """The grammar costs too much, or cannot be read."""


@dataclass(slots=True)
class _Item:
    """One symbol of a sequence: `rule` is -1 for characters, which `kind` and `text` name."""

    rule: int
    elements: int
    kind: str = ""
    text: str = ""
    optional: bool = False
    copies: int = 1
    repeats: bool = False


@dataclass(slots=True)
class _Rules:
    """Rules by number; a group in parentheses is one too."""

    alternatives: list[list[list[_Item]]] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    elements: int = 0

    def named(self, name: str) -> int:
        if name not in self.numbers:
            self.numbers[name] = self.add()
        return self.numbers[name]

    def add(self) -> int:
        self.alternatives.append([])
        self.count(_RULE_ELEMENTS)
        return len(self.alternatives) - 1

    def count(self, elements: int) -> None:
        self.elements += elements
        if self.elements > MOST_ELEMENTS:
            raise _Refused(f"expands to more than {MOST_ELEMENTS:,} elements")


def fault(grammar: str) -> str:
    """Return why a grammar must not reach the engine, in words that follow its name; empty when it may."""
    rules = _Rules()
    reason = _measured(grammar, rules)[1] or (grammar and _missing(rules))
    if not reason and multiplies(rules.alternatives):
        return AMBIGUOUS
    return reason


def _missing(rules: _Rules) -> str:
    """Return which rule the engine would miss."""
    if "root" not in rules.numbers or not rules.alternatives[rules.numbers["root"]]:
        return 'does not define a rule "root", where an answer begins'
    for name, number in rules.numbers.items():
        if not rules.alternatives[number]:
            return f"names a rule that it does not define, {name[:64]}"
    return ""


def measure(grammar: str) -> tuple[int, str]:
    """Return to how many elements a grammar expands, and why it must not reach the engine.

    Its texts are not followed: without recursion, as in a pattern, they cannot multiply for long.
    """
    return _measured(grammar, _Rules())


def _measured(grammar: str, rules: _Rules) -> tuple[int, str]:
    """Read a grammar into `rules`, and measure them."""
    if len(grammar) > MOST_BYTES:
        return 0, f"has {len(grammar):,} characters; at most {MOST_BYTES:,} are accepted"
    try:
        _read(grammar, rules)
        _check_ways(rules.alternatives, _empty_rules(rules.alternatives))
    except _Refused as refusal:
        return rules.elements, str(refusal)
    return rules.elements, ""


def is_readable(grammar: str) -> bool:
    """Return whether a grammar follows the syntax, whatever it costs."""
    return not measure(grammar)[1].startswith(_UNREADABLE)


def _read(grammar: str, rules: _Rules) -> None:
    """Read rules as the engine's parser does, line ends within parentheses or after `|` included."""
    open_rules, last = list[int](), "line"
    position = 0
    pending = ""
    while position < len(grammar):
        found = _TOKEN.match(grammar, position)
        if found is None or found.lastgroup is None:
            raise _Refused(f"{_UNREADABLE} from character {position:,} on")
        kind, position = _kind(found), found.end()
        if kind == "space":
            continue
        if kind == "line":
            if len(open_rules) == 1 and last not in {"or", "define"}:
                open_rules.clear()
            continue
        if not open_rules:
            pending = _begin(rules, open_rules, kind, found[0], pending, position)
        else:
            _continue(rules, open_rules, kind, found)
        last = kind
    if pending or len(open_rules) > 1:
        raise _Refused(f"{_UNREADABLE}: it ends too early")


def _kind(found: re.Match[str]) -> str:
    """Return which alternative of `_TOKEN` matched."""
    return "repeat" if found["repeat"] else str(found.lastgroup)


def _begin(rules: _Rules, open_rules: list[int], kind: str, word: str, pending: str, position: int) -> str:
    """Take `name ::=`, the two words one after the other; return the name while it waits for its sign."""
    if kind == "name" and not pending:
        return word
    if kind != "define" or not pending:
        raise _Refused(f"{_UNREADABLE} from character {position - len(word):,} on")
    number = rules.named(pending)
    rules.alternatives[number] = [[]]
    open_rules.append(number)
    return ""


def _continue(rules: _Rules, open_rules: list[int], kind: str, found: re.Match[str]) -> None:
    """Take one word of a rule."""
    sequence = rules.alternatives[open_rules[-1]][-1]
    match kind:
        case "or":
            rules.alternatives[open_rules[-1]].append([])
            rules.count(1)
        case "open":
            if len(open_rules) > MOST_NESTING:
                raise _Refused(f"nests parentheses deeper than {MOST_NESTING}")
            number = rules.add()
            rules.alternatives[number] = [[]]
            sequence.append(_Item(number, 1))
            open_rules.append(number)
        case "close" if len(open_rules) > 1:
            open_rules.pop()
        case "repeat" if sequence:
            _repeat(rules, sequence[-1], found)
        case "name":
            sequence.append(_Item(rules.named(found[0]), 1))
            rules.count(1)
        case "literal" | "set" | "token" | "any":
            if kind in {"literal", "set"} and (wrong := mistake(kind, found[kind])):
                raise _Refused(wrong)
            length = 1 if kind in {"token", "any"} else len(found[kind])
            sequence.append(_Item(-1, length, kind, found[kind], optional=not length))
            rules.count(length)
        case _:
            raise _Refused(f"{_UNREADABLE} from character {found.start():,} on")


def _repeat(rules: _Rules, item: _Item, found: re.Match[str]) -> None:
    """Expand a repetition as the engine does: copies of what must come, a rule for each that may."""
    least, most = _times(found)
    if least > _ENGINE_REPEATS:
        raise _Refused(f"repeats more than {_ENGINE_REPEATS:,} times")
    if most is not None and most < least:  # the engine counts down from 2^64, in memory and without end
        raise _Refused(f"repeats at least {least:,} and at most {most:,} times")
    optional_rules = 1 if most is None else max(0, most - least)
    rules.count(item.elements * max(0, least - 1) + optional_rules * (item.elements + _RULE_ELEMENTS))
    item.elements = item.elements * least + bool(optional_rules)
    item.optional = item.optional or not least
    item.copies *= max(1, least, most or 0)
    item.repeats = item.repeats or most is None or most > 1


def _times(found: re.Match[str]) -> tuple[int, int | None]:
    """Return the least and the most repetitions; None is any number."""
    match found["repeat"]:
        case "*":
            return 0, None
        case "+":
            return 1, None
        case "?":
            return 0, 1
    least = int(found["least"])
    if not found["comma"]:
        return least, least
    most = int(found["most"]) if found["most"] else None
    return least, None if most is None or most > _ENGINE_REPEATS else most


def _empty_rules(alternatives: list[list[list[_Item]]]) -> list[bool]:
    """Return which rules can match nothing: each place that waits for a rule is looked at once."""
    empty = [False] * len(alternatives)
    needs: list[list[tuple[int, list[int]]]] = [[] for _ in alternatives]
    found: list[int] = []
    for number, sequences in enumerate(alternatives):
        for sequence in sequences:
            waits = [item.rule for item in sequence if not item.optional]
            left = [len(waits)]
            for rule in waits:
                if rule >= 0:
                    needs[rule].append((number, left))
            if not waits and not empty[number]:
                empty[number] = True
                found.append(number)
    while found:
        for number, left in needs[found.pop()]:
            left[0] -= 1
            if not left[0] and not empty[number]:
                empty[number] = True
                found.append(number)
    return empty


def _check_ways(alternatives: list[list[list[_Item]]], empty: list[bool]) -> None:
    """Count the ways to begin at every place of every rule, each rule after those it begins with."""
    begun, chain = [_UNSEEN] * len(alternatives), [0] * len(alternatives)
    firsts = [_firsts(sequences, empty) for sequences in alternatives]
    for start in range(len(alternatives)):
        path = [(start, iter(firsts[start]))] if begun[start] is _UNSEEN else []
        begun[start] = _OPEN if path else begun[start]
        while path:
            number, left = path[-1]
            for first in left:
                if begun[first] is _OPEN:
                    raise _Refused("has a rule that begins with itself (left recursion)")
                if begun[first] is _UNSEEN:
                    begun[first] = _OPEN
                    path.append((first, iter(firsts[first])))
                    break
            else:
                path.pop()
                chain[number] = 1 + max((chain[first] for first in firsts[number]), default=0)
                if chain[number] > MOST_CHAIN:
                    raise _Refused(f"has more than {MOST_CHAIN} rules that begin with each other")
                starts = [_start(sequence, begun, empty) for sequence in alternatives[number]]
                begun[number] = _checked(
                    sum(one.ways for one in starts) or 1,
                    sum(one.short for one in starts),
                    sum(one.work for one in starts),
                )
    for sequences in alternatives:
        for sequence in sequences:
            _start(sequence, begun, empty)


def _firsts(sequences: list[list[_Item]], empty: list[bool]) -> list[int]:
    """Return the rules that a rule can begin with."""
    found = []
    for sequence in sequences:
        for item in sequence:
            if item.rule >= 0:
                found.append(item.rule)
            if not _may_be_empty(item, empty):
                break
    return found


def _may_be_empty(item: _Item, empty: list[bool]) -> bool:
    return item.optional or (item.rule >= 0 and empty[item.rule])


def _start(sequence: list[_Item], begun: list[_Start], empty: list[bool]) -> _Start:
    """Return how a sequence begins, and look at each place within it, from its end."""
    here, rest_is_empty = _NOWHERE, True
    for item in reversed(sequence):
        inner = _begin_item(item, begun, empty)
        passes = _may_be_empty(item, empty)
        after = here.ways + (inner.ways if item.repeats else 0)
        here = _checked(
            inner.ways + (here.ways if passes else 0),
            (inner.short if rest_is_empty else 0) + (here.short if passes else 0),
            inner.work + inner.short * after**2 + (here.work if passes else 0),
        )
        rest_is_empty = rest_is_empty and passes
    return here


def _begin_item(item: _Item, begun: list[_Start], empty: list[bool]) -> _Start:
    """Return how one symbol begins; a copy of what may be empty begins again."""
    if item.rule < 0:
        return _ONE_CHARACTER if item.elements == 1 else _CHARACTERS
    start, copies = begun[item.rule], item.copies if empty[item.rule] else 1
    return _Start(start.ways * copies, start.short * copies, start.work * copies)


def _checked(ways: int, short: int, work: int) -> _Start:
    if ways > MOST_WAYS:
        raise _Refused(f"can begin in more than {MOST_WAYS:,} ways at one place")
    if work > MOST_WORK:
        raise _Refused("can begin in too many ways at one place that go on in many ways after one character")
    return _Start(ways, short, work)

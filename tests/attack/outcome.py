"""What came of each hostile request, counted, and what must not come of any."""

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field

ESCAPE = "escape"
FAILED = "failed"
SILENT = "silent"
SMUGGLED = "smuggled"
LET_IN = "let in"
REFUSED = "refused"
SERVED = "served"

_MOST_EXAMPLES = 12


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ended; status 0 is no answer, and seconds are those it took."""

    kind: str
    name: str
    status: int
    code: str = ""
    seconds: float = 0.0
    smuggled: bool = False
    let_in: bool = False

    @property
    def verdict(self) -> str:
        """Return what it means: only `served` and `refused` are as they should be."""
        if self.smuggled:
            return SMUGGLED
        if self.let_in:
            return LET_IN
        if self.status == 500:
            return ESCAPE  # nothing that a client sends is a fault of relayd or of the engine
        if self.status in (502, 504):
            return FAILED
        if self.status == 0:
            return SILENT
        return SERVED if self.status < 400 else REFUSED


@dataclass(slots=True)
class Tally:
    """Outcomes by family and by answer, filled from several threads; `flying` is what has no outcome yet."""

    total: int = 0
    by_family: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    answers: Counter[str] = field(default_factory=Counter)
    examples: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    slowest: list[tuple[float, str]] = field(default_factory=list)
    flying: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, outcome: Outcome) -> None:
        name = f"{outcome.kind}: {outcome.name}"
        with self._lock:
            self.total += 1
            self.by_family[outcome.kind][outcome.verdict] += 1
            self.answers[f"{outcome.status} {outcome.code}".strip()] += 1
            if outcome.verdict not in (SERVED, REFUSED) and len(found := self.of(outcome)) < _MOST_EXAMPLES:
                found.append(f"{name} -> {outcome.status} {outcome.code} after {outcome.seconds:.1f} s")
            self.slowest = sorted([*self.slowest, (outcome.seconds, name)], reverse=True)[:5]

    def of(self, outcome: Outcome) -> list[str]:
        return self.examples[outcome.verdict]

    def count(self, verdict: str) -> int:
        return sum(family[verdict] for family in self.by_family.values())

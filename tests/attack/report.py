"""What an attack came to: for people, and as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from relayd.units import show_bytes
from tests.attack.honest import Seen, spread
from tests.attack.outcome import ESCAPE, FAILED, SILENT, SMUGGLED, Tally
from tests.attack.target import Fate


@dataclass(slots=True)
class Result:
    """Everything that was seen."""

    tally: Tally
    fate: Fate
    seen: dict[str, Seen]
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def broken(self) -> dict[str, int]:
        """Return the bars that are broken, and by how much."""
        bars = {
            "replicas ended": self.fate.ended.total(),
            "models given up": len(self.fate.given_up),
            "honest answers wrong": sum(seen.wrong for seen in self.seen.values()),
            "honest answers missing": sum(seen.missing for seen in self.seen.values()),
            "faults of relayd": self.tally.count(ESCAPE) + len(self.faults),
            "requests smuggled": self.tally.count(SMUGGLED),
        }
        return {name: count for name, count in bars.items() if count}

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "seconds": round(self.seconds, 1),
            "sent": self.tally.total,
            "by_family": {kind: dict(counts) for kind, counts in self.tally.by_family.items()},
            "answers": dict(self.tally.answers),
            "examples": dict(self.tally.examples),
            "replicas_ended": dict(self.fate.ended),
            "causes": self.fate.causes,
            "models_given_up": sorted(self.fate.given_up),
            "honest": {phase: _honest(seen) for phase, seen in self.seen.items()},
            "daemon_bytes": _memory(self.fate),
            "largest_replica_bytes": self.fate.largest_replica,
            "faults": self.faults,
            "broken": self.broken(),
        }

    def lines(self) -> Iterator[str]:
        """Yield it for people."""
        yield f"sent {self.tally.total} in {self.seconds:.0f} s"
        for kind, counts in self.tally.by_family.items():
            yield f"  {kind:12} {', '.join(f'{count} {name}' for name, count in counts.most_common())}"
        yield f"answers: {', '.join(f'{count} x {name}' for name, count in self.tally.answers.most_common())}"
        for verdict in (ESCAPE, SMUGGLED, FAILED, SILENT):
            for example in self.tally.examples[verdict]:
                yield f"  {verdict}: {example}"
        for seconds, name in self.tally.slowest:
            yield f"  slow: {seconds:.1f} s {name}"
        for phase, seen in self.seen.items():
            yield f"honest clients {phase}: {dict(seen.outcomes.most_common())}"
            yield f"  wait of an answer in ms {spread(seen.waits)}; lag of the loop in ms {spread(seen.lags)}"
            yield from (f"  {name}: {detail}" for name, detail in seen.details.items())
        memory = {name: show_bytes(value) for name, value in _memory(self.fate).items()}
        yield f"memory of the daemon {memory}; largest replica {show_bytes(self.fate.largest_replica)}"
        yield f"replicas ended {self.fate.ended.total()}, models given up {sorted(self.fate.given_up)}"
        yield from (f"  {cause}" for cause in self.fate.causes[:20])
        yield from (f"  fault: {fault}" for fault in self.faults)
        yield f"bars broken: {self.broken() or 'none'}"


def _honest(seen: Seen) -> dict[str, Any]:
    counts = {"wrong": seen.wrong, "missing": seen.missing, "outcomes": dict(seen.outcomes)}
    return {**counts, "wait_ms": spread(seen.waits), "lag_ms": spread(seen.lags)}


def _memory(fate: Fate) -> dict[str, int]:
    seen = fate.memory or [0]
    return {"before": seen[0], "most": max(seen), "after": seen[-1]}

"""What an attack came to: for people, and as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from relayd.units import show_bytes
from tests.attack.honest import Seen, spread
from tests.attack.outcome import ESCAPE, FAILED, LET_IN, SILENT, SMUGGLED, Tally
from tests.attack.target import Fate
from tests.soak.clients import WHOLE


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
            "answers of 500, and faults of relayd": self.tally.count(ESCAPE) + len(self.faults),
            "requests smuggled": self.tally.count(SMUGGLED),
            "requests let in without a right": self.tally.count(LET_IN),
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
            "replicas_ended_by_phase": dict(self.fate.ended_in),
            "causes": self.fate.causes,
            "models_given_up": sorted(self.fate.given_up),
            "honest": {phase: _honest(seen) for phase, seen in self.seen.items()},
            "daemon_bytes": {phase: _memory(sizes) for phase, sizes in self.fate.memory.items()},
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
        for verdict in (ESCAPE, SMUGGLED, LET_IN, FAILED, SILENT):
            for example in self.tally.examples[verdict]:
                yield f"  {verdict}: {example}"
        for seconds, name in self.tally.slowest:
            yield f"  slow: {seconds:.1f} s {name}"
        yield from self._phases()
        yield f"largest replica {show_bytes(self.fate.largest_replica)}"
        yield f"replicas ended {self.fate.ended.total()}, models given up {sorted(self.fate.given_up)}"
        yield from (f"  {cause}" for cause in self.fate.causes[:20])
        yield from (f"  fault: {fault}" for fault in self.faults)
        yield f"bars broken: {self.broken() or 'none'}"

    def _phases(self) -> Iterator[str]:
        """Yield a table of honest clients, the loop and memory: times are p50, p99 and the largest in ms."""
        titles = f"{'phase':12} {'honest: whole':>13} {'ended':>5} {'wait':>22} {'lag':>20}"
        yield f"{titles} {'daemon':>9} {'most':>9}"
        for phase, seen in self.seen.items():
            memory = _memory(self.fate.memory.get(phase, [0]))
            yield (
                f"{phase:12} {seen.outcomes.get(WHOLE, 0):>5} of {sum(seen.outcomes.values()):<5}"
                f" {self.fate.ended_in[phase]:>4} {_shown(seen.waits):>22} {_shown(seen.lags):>20}"
                f" {show_bytes(memory['after']):>9} {show_bytes(memory['most']):>9}"
            )
            for name, detail in seen.details.items():
                yield f"  {seen.outcomes[name]} x {name}: {detail}"


def _shown(values: list[float]) -> str:
    return " ".join(f"{value:.0f}" for value in spread(values).values())


def _honest(seen: Seen) -> dict[str, Any]:
    counts = {"wrong": seen.wrong, "missing": seen.missing, "outcomes": seen.outcomes}
    return {**counts, "wait_ms": spread(seen.waits), "lag_ms": spread(seen.lags)}


def _memory(sizes: list[int]) -> dict[str, int]:
    return {"before": sizes[0], "most": max(sizes), "after": sizes[-1]}

"""Size of a replica: as planned, or smaller since memory did not hold the plan (reductions).

A reduction belongs to the model's line: it holds over exits and over daemons until an operator restarts the
replica or the line changes. A day after memory ran out the full size is tried once, at the next start; what
runs is never ended for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from relayd.planner import Basis, Planned, ReplicaSpec, Step
from relayd.supervisor.causes import Cause, Exit
from relayd.units import Bytes

MOST_STEPS = 4
"""Smaller plans that are tried before a replica that does not fit is given up."""

FULL_SIZE_AGAIN_SECONDS = 24 * 3600.0
"""How long after memory ran out the full size is not tried again."""


@dataclass(frozen=True, slots=True)
class Reduction:
    """What a replica was made smaller to, as the next daemon needs to know it.

    Attributes:
        line: Digest of the model's line that it was made of; it means nothing for another one.
        spec: The smaller process.
        rung: Where on the ladder to go on.
        steps: What was changed, for people, in order.
        at: When memory last ran out at a larger size, in seconds since 1970.
        needs: Device → bytes that the smaller process has to hold; empty where they are not known.
        basis: How these are known.
    """

    line: str
    spec: ReplicaSpec
    rung: int
    steps: tuple[str, ...]
    at: float
    needs: Mapping[str, Bytes] = field(default_factory=dict)
    basis: Basis = Basis.UNKNOWN


@dataclass(frozen=True, slots=True)
class Sizing:
    """What a replica is meant to be, what it is, and what is known to fit.

    Attributes:
        wanted: The plan.
        current: What runs, or is started next.
        reduction: The smaller size that is known to be needed; None while the plan holds.
    """

    wanted: Planned
    current: Planned
    reduction: Reduction | None = None

    @classmethod
    def of(cls, wanted: Planned) -> "Sizing":
        """Return the sizing of a replica of which nothing else is known."""
        return cls(wanted, wanted)

    @property
    def line(self) -> str:
        """Identity of what the operator's line fixes."""
        return line_of(self.wanted)

    @property
    def is_reduced(self) -> bool:
        """Whether what runs, or would, is smaller than planned."""
        return self.reduction is not None and self.current.spec == self.reduction.spec

    @property
    def steps(self) -> tuple[str, ...]:
        """What was changed to make it fit; empty at its full size."""
        return self.reduction.steps if self.reduction and self.is_reduced else ()

    def sizes(self, now: float) -> tuple[Planned, ...]:
        """Return the sizes to start in, the best first; `now` is in seconds since 1970."""
        if self.reduction is None:
            return (self.wanted, *self.wanted.others)
        smaller = self._reduced(self.reduction)
        due = now - self.reduction.at >= FULL_SIZE_AGAIN_SECONDS
        return (self.wanted, smaller) if due else (smaller,)

    def started_as(self, planned: Planned) -> "Sizing":
        """Return the sizing once one of the sizes has been granted."""
        return replace(self, current=planned)

    def fits(self) -> "Sizing":
        """Return the sizing once the current size is ready: the full one needs no reduction any more."""
        return self if self.is_reduced else replace(self, reduction=None)

    def planned_anew(self, wanted: Planned | None = None) -> "Sizing":
        """Return the sizing after an operator's restart or a changed line: full size."""
        wanted = wanted or self.wanted
        return Sizing(wanted, self.current)

    def replanned(self, wanted: Planned) -> "Sizing":
        """Return the sizing with another plan for the next start, or other bytes for the same process."""
        same = self.current.spec == wanted.spec
        kept = self.reduction if line_of(wanted) == self.line else None
        return Sizing(wanted, wanted if same else self.current, kept)

    def adopted(self, running: Planned, reduction: Reduction | None) -> "Sizing":
        """Return the sizing of a process that an earlier daemon started."""
        known = replace(self, reduction=self._valid(reduction))
        if running.spec == self.wanted.spec:
            return known
        return replace(known, current=self._of_this_line(running))

    def recalled(self, reduction: Reduction | None) -> "Sizing":
        """Return the sizing with what an earlier daemon has learnt, unless the line has changed since."""
        return replace(self, reduction=self._valid(reduction) or self.reduction)

    def may_shrink(self, exit_: Exit) -> bool:
        """Return whether an exit means that the current size is too large.

        Also after a long service: a prompt cache fills over hours, and what else grew on the machine stays.
        """
        return exit_.cause in (Cause.DEVICE_OOM, Cause.HOST_OOM)

    def next_rung(self) -> int | None:
        """Return where on the ladder to look for the next size; None where none is to be looked for."""
        if self.reduction is None:
            return 0
        return self.reduction.rung if self.is_reduced and len(self.steps) < MOST_STEPS else None

    def ran_out(self, step: Step | None, now: float) -> "Sizing | None":
        """Return the sizing after memory has run out; None when nothing smaller is left.

        Args:
            step: What the ladder has from `next_rung` on.
            now: Seconds since 1970.
        """
        if self.reduction and not self.is_reduced:  # the full size was tried again, in vain
            known = replace(self.reduction, at=now)
            return replace(self, current=self._reduced(known), reduction=known)
        if step is None:
            return None
        steps = (*self.steps, step.what)
        smaller = step.planned
        reduction = Reduction(
            self.line, smaller.spec, step.rung, steps, now, dict(smaller.needs), smaller.basis
        )
        return replace(self, current=self._of_this_line(smaller), reduction=reduction)

    def _valid(self, reduction: Reduction | None) -> Reduction | None:
        return reduction if reduction and reduction.line == self.line else None

    def _reduced(self, reduction: Reduction) -> Planned:
        """Return the smaller plan."""
        return self._of_this_line(Planned(reduction.spec, reduction.needs, reduction.basis))

    def _of_this_line(self, planned: Planned) -> Planned:
        """Return another size of the same line."""
        wanted = self.wanted
        return replace(planned, line=wanted.line or wanted.spec, cold="", residence=wanted.residence)


def line_of(planned: Planned) -> str:
    """Return the identity of the model's line that a plan was made of."""
    return (planned.line or planned.spec).digest

"""Where models go, planned together and confirmed: the engine is asked what each plan takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from relayd.advice.confirm import Confirmation, confirm
from relayd.desired.kept import Kept
from relayd.desired.lines import PlannedLine
from relayd.engine.memory import MemoryProbe
from relayd.memory.setup import Setup
from relayd.planner.budget import Budget
from relayd.planner.fleet import FleetPlan, Wanted, plan_fleet
from relayd.planner.placement import Placement
from relayd.units import Bytes

ROUNDS = 3
"""How often all models are planned again because the engine reports more memory for one."""


@dataclass(slots=True)
class _Asked:
    """What the engine has reported for this plan; equal setups are asked about once."""

    probe: MemoryProbe | None
    answers: dict[tuple[str, Setup], Confirmation] = field(default_factory=dict)

    def about(self, line: PlannedLine, placement: Placement) -> Confirmation:
        setup = replace(placement.setup, repacked=frozenset(), cache_ram_mib=0)
        question = (line.model.file, setup)
        if question not in self.answers:
            file = Path(line.model.file)
            self.answers[question] = confirm(self.probe, placement, file, here=True)
        return self.answers[question]


def confirmed_plan(
    lines: Sequence[PlannedLine | Wanted],
    kept: Mapping[str, Kept],
    room: Budget,
    probe: MemoryProbe | None,
) -> tuple[FleetPlan, dict[str, Confirmation]]:
    """Return where every replica goes, and what the engine reports for those that are planned now, by name.

    Where it reports more than was predicted, that is added to what the replica needs, and all are planned
    again with room for it.

    Args:
        lines: The models in the order of their lines; of those that the engine fits, what is wanted.
        kept: Plans that stay.
        room: What models may take of the machine.
        probe: Asks the engine; None if it cannot be asked.
    """
    asked, more = _Asked(probe), dict[str, int]()
    by_model = {line.model.name: line for line in lines if isinstance(line, PlannedLine)}
    for _ in range(ROUNDS):
        wanted = [
            line
            if isinstance(line, Wanted)
            else line.wanted(_places(line, kept), more.get(line.model.name, 0))
            for line in lines
        ]
        fleet = plan_fleet(wanted, room, all_of_them=True)
        said = {
            one.name: asked.about(by_model[one.model], one.outcome)
            for one in fleet.assignments
            if one.model in by_model
            and isinstance(one.outcome, Placement)
            and not _stays(one.model, one.index, kept)
        }
        news = {
            name.rpartition("#")[0]: most
            for name, one in said.items()
            if (most := max(one.more.values(), default=0)) > more.get(name.rpartition("#")[0], 0)
        }
        if not news:
            break
        more |= news
    return _corrected(fleet, said), said


def _places(line: PlannedLine, kept: Mapping[str, Kept]) -> tuple[Placement, ...]:
    return kept[line.model.name].placements if line.model.name in kept else ()


def _stays(model: str, index: int, kept: Mapping[str, Kept]) -> bool:
    return model in kept and index < len(kept[model].replicas)


def _corrected(fleet: FleetPlan, said: Mapping[str, Confirmation]) -> FleetPlan:
    """Return a plan whose replicas need what the engine reports."""
    left, assignments = fleet.left, []
    for one in fleet.assignments:
        more = said[one.name].more if one.name in said else {}
        if more and isinstance(one.outcome, Placement):
            keys = {*one.outcome.needs, *more}
            needs = {key: Bytes(max(0, one.outcome.needs.get(key, 0) + more.get(key, 0))) for key in keys}
            left = left.minus({key: max(0, nbytes) for key, nbytes in more.items()}, one.name)
            assignments.append(replace(one, outcome=replace(one.outcome, needs=needs)))
        else:
            assignments.append(one)
    return replace(fleet, assignments=tuple(assignments), left=left)

"""How a model on demand is confirmed by the engine before its first load, and remembered so.

It was planned by closed form, alone. Just before its memory is asked for, the engine is asked once what the
size takes (10 to 300 ms); what it reports counts from then on, over restarts too.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from relayd.advice.confirm import confirm
from relayd.desired.lines import by_device, by_room
from relayd.desired.remembered import RememberedModel, RememberedReplica, read_plans, write_plans
from relayd.desired.smaller import predicted_placement
from relayd.engine import Engine
from relayd.engine.memory import MemoryProbe
from relayd.errors import RelaydError
from relayd.journal import Journal
from relayd.planner import Basis, Planned
from relayd.planner.budget import Budget

_JOURNAL = Journal("desired")


@dataclass(slots=True)
class LoadConfirmation:
    """Confirms plans of one engine on one machine; each size of a model is asked about once.

    Attributes:
        engine: The engine.
        probe: Asks it.
        room: What models may take of the machine.
        state: The folder of what is remembered.
    """

    engine: Engine
    probe: MemoryProbe
    room: Budget
    state: Path
    _known: dict[str, Planned] = field(default_factory=dict)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def __repr__(self) -> str:
        return f"<LoadConfirmation: {len(self._known)} sizes confirmed>"

    def __call__(self, planned: Planned) -> Planned:
        """Return a plan as the engine confirms it; where it cannot, or did before, as it is. Blocks.

        Args:
            planned: One size of a replica.
        """
        if planned.basis is not Basis.PREDICTED or planned.spec.fit:
            return planned
        digest = replace(planned.spec, index=0).digest
        if digest not in self._known:
            found = self._confirmed(planned)
            self._known[digest] = found
            if found.basis is Basis.CONFIRMED:
                self._remember(found)
        known = self._known[digest]
        return replace(planned, needs=known.needs, basis=known.basis)

    def _confirmed(self, planned: Planned) -> Planned:
        try:
            placement = predicted_placement(planned.spec, self.engine.features, self.room)
            said = confirm(self.probe, placement, planned.spec.file, here=True)
        except (RelaydError, ValueError, LookupError) as error:  # the load shows what is wrong
            _JOURNAL.warning("plan.not_confirmed", replica=planned.name, message=str(error))
            return planned
        if said.note:
            _JOURNAL.warning("plan.not_confirmed", replica=planned.name, message=said.note)
            return planned
        needs = by_room(planned.needs)
        keys = {*needs, *said.more}
        more = {key: max(0, needs.get(key, 0) + said.more.get(key, 0)) for key in keys}
        return replace(planned, needs=by_device(more), basis=Basis.CONFIRMED)

    def _remember(self, planned: Planned) -> None:
        """Write down what was confirmed; what fails is asked again by the next daemon."""
        with self._writing:
            plans, _ = read_plans(self.state)
            entry = plans.get(planned.model)
            if entry and entry.sizes:
                changed = {**plans, planned.model: _with(entry, planned)}
                write_plans(self.state, changed.values())


def _with(entry: RememberedModel, planned: Planned) -> RememberedModel:
    """Return what is remembered of a model with one of its sizes confirmed."""
    if entry.sizes is None:
        return entry
    sizes = tuple(_confirmed_size(entry.sizes.sizes, planned))
    return msgspec.structs.replace(entry, sizes=msgspec.structs.replace(entry.sizes, sizes=sizes))


def _confirmed_size(sizes: tuple[RememberedReplica, ...], planned: Planned) -> Iterator[RememberedReplica]:
    spec = planned.spec
    for one in sizes:
        same = (one.context, one.slots, one.placement.devices, one.placement.cache_type_k) == (
            spec.context, spec.slots, spec.placement.devices, spec.placement.cache_type_k,
        )  # fmt: skip
        yield msgspec.structs.replace(one, needs=dict(planned.needs), basis=Basis.CONFIRMED) if same else one

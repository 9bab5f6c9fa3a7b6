"""The plan of a machine: what starts where, what is loaded on demand, and the memory of each device."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relayd.memory.weights import CPU
from relayd.planner import Planned
from relayd.planner.budget import HOST
from relayd.planner.fleet import Assignment, FleetPlan
from relayd.planner.ledger import DeviceRow
from relayd.planner.placement import Placement
from relayd.ui.recommend import NARROW, memory_of, show_rate, show_tokens, verdict
from relayd.units import GIB, MIB, show_bytes

MOST_ON_DEMAND = 12
"""How many models on demand are shown a line each."""


_LEAST_GIB = 0.1
"""What is less has two digits."""


def plan_page(
    plan: FleetPlan,
    ledger: Sequence[DeviceRow],
    on_demand: Sequence[tuple[Planned, str]] = (),
    notes: Sequence[str] = (),
    width: int = 100,
) -> RenderableType:
    """Return where every replica goes, what is loaded on demand, and what each device is left with.

    Args:
        plan: The replicas that are to start.
        ledger: The memory of each device.
        on_demand: Replicas that do not start, each with the reason.
        notes: What to know, a sentence each.
        width: Columns there are.
    """
    elsewhere = {one.name for one, _ in on_demand}
    table = _table("REPLICA", "CONTEXT", "GiB", "TOK/S", "VERDICT", folded={"REPLICA", "VERDICT"})
    shown = [one for one in plan.assignments if one.name not in elsewhere]
    for assignment in shown:
        table.add_row(*map(Text, _assigned(assignment)))
    reasons = dict.fromkeys(
        f"{one.model}: {reason}"
        for one in shown
        if isinstance(one.outcome, Placement)
        for reason in one.outcome.reasons
    )
    parts: list[RenderableType] = [table, Text()] if shown else []
    if on_demand:
        parts += [*_on_demand(on_demand), Text()]
    lines = (*reasons, *(f"Note: {note}" for note in notes))
    return Group(*parts, _devices(ledger, wide=width >= NARROW), *map(Text, lines))


def _table(*headings: str, folded: set[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=heading not in folded, overflow="fold")
    return table


def _devices(ledger: Sequence[DeviceRow], *, wide: bool) -> Table:
    """Return a line for each device; what replicas hold is a column where some run.

    Of RAM, what of the plan are weights is a column: they count whole, also where a file is mapped.
    """
    runs = any(one.measured is not None for one in ledger)
    headings = ["DEVICE", *(["NAME"] if wide else []), "PLANNED", "WEIGHTS", *(["MEASURED"] if runs else [])]
    table = _table(*headings, "OTHERS", "FREE", "OF", "WHY NOT MORE", folded={"NAME", "WHY NOT MORE"})
    for one in ledger:
        measured = [show_bytes(one.measured) if one.measured is not None else ""] if runs else []
        sizes = (show_bytes(one.others), show_bytes(one.free), show_bytes(one.capacity))
        weights = show_bytes(one.weights) if one.weights is not None else ""
        table.add_row(
            one.key, *([Text(one.name)] if wide else []), show_bytes(one.planned), weights, *measured, *sizes,
            Text(one.why),
        )  # fmt: skip
    return table


def _on_demand(found: Sequence[tuple[Planned, str]]) -> Iterator[RenderableType]:
    table = _table("ON DEMAND", "CONTEXT", "GiB", "WHY", folded={"ON DEMAND", "GiB", "WHY"})
    for planned, why in found[:MOST_ON_DEMAND]:
        table.add_row(*map(Text, (planned.name, *_size(planned), why)))
    yield table
    if (more := len(found) - MOST_ON_DEMAND) > 0:
        yield Text(f"and {more} more: relayd plan --json")


def _size(planned: Planned) -> tuple[str, str]:
    """Return slots and context of the best size, and the memory of the best and of the least."""
    spec = planned.spec
    context = f"{spec.slots} x {show_tokens(spec.context)}" if spec.context and not spec.fit else ""
    best, least = _memory(planned.needs), _memory(planned.others[-1].needs) if planned.others else ""
    return (
        ("", "") if planned.refused else (context, f"{best} or {least}" if least not in ("", best) else best)
    )


def _memory(needs: Mapping[str, int]) -> str:
    """Return what devices hold, in GiB; RAM beside GPUs only where it is some."""
    shown = {key: nbytes for key, nbytes in needs.items() if key != HOST or nbytes >= GIB or len(needs) == 1}
    return " + ".join(f"{key} {nbytes / GIB:.1f}" for key, nbytes in shown.items())


def _account(key: str) -> str:
    return HOST if key == CPU else key


def _needs(placement: Placement) -> Iterator[str]:
    """Yield what devices hold, in GiB, and apart from it what prompts of earlier requests take at most."""
    cache = placement.setup.cache_ram_mib * MIB
    for key, nbytes in placement.needs.items():
        gib = (nbytes - (cache if key == CPU else 0)) / GIB
        yield f"{_account(key)} {gib:.{1 if gib >= _LEAST_GIB else 2}f}"
    if cache:
        yield f"cache {cache / GIB:.1f}"


def _assigned(assignment: Assignment) -> Iterator[str]:
    placement = assignment.outcome
    yield assignment.name
    if isinstance(placement, Placement) and not placement.layers[1]:  # its shape could not be read
        yield from ("", memory_of(placement) + "~", "", "fitted by the engine")
    elif isinstance(placement, Placement):
        yield f"{placement.slots} x {show_tokens(placement.context)}"
        yield f"{' + '.join(_needs(placement))}~"
        yield show_rate(placement.alone)
        yield verdict(placement)
    else:
        yield from ("", "", "", f"no place: {placement}")

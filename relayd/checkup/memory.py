"""Checks of the plan: what each device has to hold, and which models it can."""

from collections.abc import Iterator

from relayd.checkup.finding import Finding, PlanFacts, Severity
from relayd.hardware import Machine
from relayd.planner.ledger import DeviceRow
from relayd.units import Bytes, show_bytes


def check_memory(plan: PlanFacts, machine: Machine) -> Iterator[Finding]:
    """Yield the ledger of each device, and what the plan has to note."""
    yield from map(_device, plan.ledger)
    yield from _on_demand(plan)
    yield from _prompt_caches(plan.prompt_caches, machine.memory.ceiling)


def _device(row: DeviceRow) -> Finding:
    """Return the memory of a device, with a note where the plan needs what other programs hold."""
    measured = f", {show_bytes(row.measured)} measured" if row.measured is not None else ""
    weights = f" ({show_bytes(row.weights)} weights)" if row.weights else ""
    detail = (
        f"{row.key}: {show_bytes(row.planned)} planned{weights}{measured}, "
        f"{show_bytes(row.others)} held by other programs, "
        f"{show_bytes(row.free)} free of {show_bytes(row.capacity)} that models may take"
    )
    if row.planned + row.others <= row.capacity:
        return Finding("memory", Severity.OK, detail)
    remedy = "End what holds it, or lower what is planned: relayd plan."
    return Finding("memory", Severity.NOTE, detail, remedy)


def _on_demand(plan: PlanFacts) -> Iterator[Finding]:
    if plan.on_demand:
        count = len(plan.on_demand)
        which = f"{plan.on_demand[0]} is" if count == 1 else f"{count} models are"
        yield Finding("on demand", Severity.OK, f"{which} loaded at a client's request")
    for reason in plan.refused.values():
        remedy = "Choose a smaller file or context, or remove the line: `relayd recommend` shows what fits."
        yield Finding("on demand", Severity.PROBLEM, reason, remedy)


def _prompt_caches(caches: Bytes, ceiling: Bytes) -> Iterator[Finding]:
    """Yield a note where prompts of earlier requests may fill the RAM; each replica keeps its own."""
    if caches > ceiling / 2:
        of = f"{show_bytes(caches)} of {show_bytes(ceiling)} RAM"
        remedy = "Lower cache_ram_mib of the models; it counts for each replica."
        yield Finding("prompt caches", Severity.NOTE, f"they may grow to {of}", remedy)

"""Placement over machines on a terminal: what runs where and why, what moves, and what is recommended."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relayd.planner.machines import MachinesPlan, Seat, moved
from relayd.planner.placement import NoPlace, Placement
from relayd.planner.recommend import Advice
from relayd.ui.recommend import show_rate, show_tokens
from relayd.units import Bytes, show_bytes


def machines_page(plan: MachinesPlan, commands: Sequence[str], left_out: Mapping[str, str]) -> RenderableType:
    """Return which machine runs what and why, what has to move, and what to type for it."""
    table = Table(box=None, pad_edge=False)
    table.add_column("MODEL", overflow="fold")
    table.add_column("MACHINE", overflow="fold")
    for heading in ("MEMORY", "CONTEXT", "TOK/S"):
        table.add_column(heading, justify="right")
    table.add_column("FILE", overflow="fold")
    for seat in plan.seats:
        table.add_row(*_cells(seat))
    parts: list[RenderableType] = [table, Text(), *_reasons(plan.seats)]
    for name, reason in left_out.items():
        parts.append(Text(f"Left out: {name}: {reason}", style="yellow"))
    if commands:
        parts += [Text(), Text("To bring the fleet there:"), *(Text(f"  {one}") for one in commands)]
    elif plan.complete:
        parts += [Text(), Text("The fleet is as it should be: nothing has to move.")]
    return Group(*parts)


def _cells(seat: Seat) -> Iterator[Text]:
    yield Text(f"{seat.model}#{seat.index}" if seat.index else seat.model)
    if isinstance(seat.outcome, NoPlace):
        yield Text("none", style="red")
        yield from (Text("-"), Text("-"), Text("-"), Text("-"))
        return
    yield Text(seat.box)
    yield Text(show_bytes(Bytes(sum(seat.outcome.needs.values()))))
    yield Text(f"{seat.outcome.slots} x {show_tokens(seat.outcome.context)}")
    yield Text(show_rate(seat.outcome.decoding.each))
    yield Text("there" if seat.move is None else moved(seat.move))


def _reasons(seats: Sequence[Seat]) -> Iterator[Text]:
    for seat in seats:
        reasons = seat.reasons if isinstance(seat.outcome, Placement) else (*seat.reasons, str(seat.outcome))
        yield Text(f"{seat.model}: {'; '.join(reasons[:4])}")


def fleet_advice_page(rows: Iterable[tuple[str, str, str, Advice, str]]) -> RenderableType:
    """Return the best model for each use on each machine.

    Args:
        rows: Use, machine, what people type for the model, the model, and the machine that has its file.
    """
    table = Table(box=None, pad_edge=False)
    for heading in ("FOR", "MACHINE", "MODEL"):
        table.add_column(heading, overflow="fold")
    for heading in ("QUALITY", "TOK/S", "CONTEXT"):
        table.add_column(heading, justify="right")
    table.add_column("FILE", overflow="fold")
    for use, box, called, advice, source in rows:
        outcome = advice.outcome
        if not isinstance(outcome, Placement):
            continue
        where = "there" if source == box else f"on {source}" if source else "to download"
        size = show_bytes(outcome.form.nbytes)
        table.add_row(
            Text(use),
            Text(box),
            Text(called),
            f"{advice.ranked.candidate.quality.score:.0f}",
            show_rate(outcome.alone),
            show_tokens(outcome.context),
            Text(f"{size} {where}"),
        )
    return table

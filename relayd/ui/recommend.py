"""Advice: the table of choices, one model in full, the plan of a machine."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relayd.planner.budget import Budget
from relayd.planner.placement import Place, Placement
from relayd.planner.processor import Tag
from relayd.planner.quality import Use
from relayd.planner.recommend import Advice
from relayd.planner.speed import Estimate
from relayd.units import GIB, MIB, show_bytes

MARKS: Mapping[Tag, str] = {
    Tag.MEASURED: "!",
    Tag.CALIBRATED: "=",
    Tag.MODELLED: "~",
    Tag.WIDE: "?",
    Tag.CATALOGUE: "",
}
LEGEND = "~ modelled   ? modelled, wide   = calibrated   ! confirmed by the engine"

HEADINGS = ("MODEL", "QUANT", "FILE", "CONTEXT", "GiB", "TOK/S", "QUALITY", "VERDICT")
WIDE_ONLY = frozenset({"FILE", "QUALITY"})
"""Columns that are left out where there is little room."""

NUMBERS = frozenset({"FILE", "CONTEXT", "TOK/S", "QUALITY"})

NARROW = 96
"""Columns below which there is little room."""


def advice_table(
    groups: Mapping[Use, Sequence[Advice]], confirmed: Iterable[str], width: int, *, refused: int = 2
) -> RenderableType:
    """Return the models to choose from, for each use.

    Args:
        groups: Use → the advice, cut to what is shown.
        confirmed: Names of models whose plan the engine confirmed.
        width: Columns there are.
        refused: Refused models that are explained below.
    """
    wide, known = width >= NARROW, set(confirmed)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in HEADINGS if wide else [one for one in HEADINGS if one not in WIDE_ONLY]:
        table.add_column(
            heading,
            no_wrap=heading not in {"MODEL", "VERDICT"},
            overflow="fold",
            justify="right" if heading in NUMBERS else "left",
        )
    for use, advices in groups.items():
        if len(groups) > 1:
            table.add_row(Text(f"for {use}:", style="bold"))
        good = [one for one in advices if one.good]
        for advice in good:
            cells = zip(HEADINGS, _cells(advice, use, sure=advice.known.name in known), strict=True)
            table.add_row(*(Text(cell) for heading, cell in cells if wide or heading not in WIDE_ONLY))
        if not good:
            table.add_row(Text("none"))
    lines = [Text(line) for line in _refusals(groups, refused)]
    return Group(table, *lines, Text(LEGEND, style="dim"))


def _cells(advice: Advice, use: Use, *, sure: bool) -> Iterator[str]:
    """Yield what stands under each of `HEADINGS`."""
    placement = advice.outcome
    if isinstance(placement, Placement):
        yield advice.known.name
        yield placement.form.quantization.name
        yield show_bytes(placement.form.nbytes)
        yield f"{placement.slots} x {show_tokens(placement.context)}"
        yield memory_of(placement, least=GIB) + ("!" if sure else "~")
        yield show_rate(placement.speed(use))
        yield f"{advice.ranked.candidate.quality.score:.0f}~"
        yield verdict(placement)


def memory_of(placement: Placement, least: int = 0) -> str:
    """Return what devices hold, a line each, without prompts of earlier requests: `cuda0 21.3`.

    Args:
        placement: How a model runs.
        least: Bytes of RAM that are worth a line beside GPUs.
    """
    cache = placement.setup.cache_ram_mib * MIB
    held = {key: nbytes - (cache if key == "cpu" else 0) for key, nbytes in placement.needs.items()}
    shown = [key for key in held if key != "cpu"]
    if not shown or held.get("cpu", 0) >= least:
        shown.append("cpu")
    return "\n".join(f"{key} {held.get(key, 0) / GIB:.1f}" for key in shown)


def verdict(placement: Placement) -> str:
    """Return in a few words how a model runs."""
    setup, (on_gpus, layers) = placement.setup, placement.layers
    found = {
        Place.ONE_GPU: "one GPU",
        Place.SPLIT: f"{len(setup.gpus)} GPUs",
        Place.EXPERTS_ON_CPU: f"experts of {setup.experts_on_cpu} layers on CPU",
        Place.PARTIAL: f"{layers - on_gpus} of {layers} layers on CPU",
        Place.CPU: "CPU",
    }[placement.place]
    cached = "" if setup.type_k == "f16" else f", {setup.type_k}"
    return found + cached + ("" if placement.fast_enough else ", too slow")


def _refusals(groups: Mapping[Use, Sequence[Advice]], count: int) -> Iterator[str]:
    """Yield a line for the best models that are refused, each once."""
    refused = {one.known.name: one for advices in groups.values() for one in advices if not one.good}
    for name, one in list(refused.items())[:count]:
        yield f"no {name}: {one.ranked.reasons[0]}"


def advice_page(
    advice: Advice, parts: Sequence[Advice], budget: Budget, use: Use, extra: Iterable[tuple[str, str]]
) -> RenderableType:
    """Return one model in full: how it runs, why, and what each of its files would ask.

    Args:
        advice: What is recommended for it.
        parts: Each of its files alone.
        budget: The machine.
        use: What it is wanted for.
        extra: More lines: label and text.
    """
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in (*_facts(advice, budget, use), *extra):
        grid.add_row(Text(label), Text(value))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("QUANT", "FILE", "CONTEXT", "MEMORY", "TOK/S", "VERDICT"):
        table.add_column(heading, no_wrap=heading != "VERDICT")
    for part in parts:
        table.add_row(*map(Text, _part(part, use)))
    return Group(grid, Text(), table, Text(LEGEND, style="dim"))


def _facts(advice: Advice, budget: Budget, use: Use) -> Iterator[tuple[str, str]]:
    yield "Model", f"{advice.known.name} ({advice.known.license or 'licence unknown'})"
    placement = advice.outcome
    if isinstance(placement, Placement):
        yield "Verdict", ("yes: " if advice.good else "no: ") + verdict(placement)
        yield (
            "Runs as",
            (
                f"{placement.form.quantization.name}, {placement.slots} x {placement.context:,} "
                f"tokens, {placement.setup.type_k} cache"
            ),
        )
        for key, nbytes in sorted(placement.needs.items(), key=lambda pair: pair[0] == "cpu"):
            room = budget.room(key)
            yield f"On {key}", f"{show_bytes(nbytes)}~ of {show_bytes(room.usable)} usable ({room.explain()})"
        if placement.setup.cache_ram_mib:
            yield "", f"{show_bytes(placement.setup.cache_ram_mib * MIB)} of it at most for earlier prompts"
        yield "Speed", _speeds(placement)
    else:
        yield "Verdict", "no"
    reasons = placement.reasons if isinstance(placement, Placement) else ()
    for number, reason in enumerate((*advice.ranked.reasons, *reasons)):
        yield "" if number else "Because", reason
    if use is Use.VISION:
        yield "Note", "1 GiB is kept for its vision projector, whose size the catalogue does not know."


def _speeds(placement: Placement) -> str:
    decoding = placement.decoding
    found = f"{show_rate(placement.alone)} tokens/s alone"
    if placement.slots > 1:
        found += f", {show_rate(decoding.each)} each with {placement.slots} at once"
        found += f" ({show_rate(decoding.together)} in all)"
    return f"{found}; prompts {show_rate(placement.prefill)}"


def _part(part: Advice, use: Use) -> Iterator[str]:
    form, placement = part.known.forms[0], part.outcome
    yield form.quantization.name
    yield show_bytes(form.nbytes)
    if isinstance(placement, Placement):
        yield f"{placement.slots} x {show_tokens(placement.context)}"
        yield memory_of(placement) + "~"
        yield show_rate(placement.speed(use))
        yield verdict(placement) if part.good else f"no: {part.ranked.reasons[0]}"
    else:
        yield from ("", "", "", f"no: {placement}")


def show_rate(estimate: Estimate) -> str:
    """Return a speed with the mark of its source: `42~`."""
    value = estimate.value
    return f"{value:.0f}{MARKS[estimate.tag]}" if value >= 10 else f"{value:.1f}{MARKS[estimate.tag]}"


def show_tokens(count: int) -> str:
    """Return a context as people write it: `512`, `8k`."""
    return f"{count // 1024}k" if count >= 1024 else str(count)

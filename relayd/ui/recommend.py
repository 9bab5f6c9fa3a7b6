"""Advice: the table of choices, one model in full, the plan of a machine."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relayd.planner.answers import Proposal, download_minutes
from relayd.planner.budget import Budget
from relayd.planner.fixes import Fixes
from relayd.planner.placement import Place, Placement
from relayd.planner.processor import Tag
from relayd.planner.quality import Use, evidence
from relayd.planner.recommend import Advice
from relayd.planner.speed import Estimate
from relayd.planner.uses import PROFILES
from relayd.units import GIB, MIB, show_apart, show_bytes

MARKS: Mapping[Tag, str] = {
    Tag.MEASURED: "!",
    Tag.CALIBRATED: "=",
    Tag.MODELLED: "~",
    Tag.WIDE: "?",
    Tag.CATALOGUE: "",
}
LEGEND = "~ modelled   ? modelled, wide   = calibrated   ! confirmed by the engine"

HEADINGS = ("MODEL", "QUANT", "DOWNLOAD", "QUALITY", "TOK/S", "MEMORY", "CONTEXT", "RUNS ON")
WIDE_ONLY = frozenset({"CONTEXT", "RUNS ON"})
"""Columns that are left out where there is little room: size and quality stay."""

NUMBERS = frozenset({"DOWNLOAD", "CONTEXT", "TOK/S", "QUALITY"})

NARROW = 96
"""Columns below which there is little room."""

_NAMED_GPUS = 2
"""Of so many a sentence has the memory of each; of more, that of all together."""

_MOST_MINUTES = 120
"""From here on a download is in hours."""

ABOUT_TABLE = (
    "DOWNLOAD is the file; MEMORY what it takes of RAM (cpu) and each device, in GiB; TOK/S what one request "
    "gets alone; QUALITY 0 to 100 from published benchmarks, with * from size and date alone."
)


def answers_page(
    answers: Sequence[Proposal],
    use: Use,
    users: int,
    called: Callable[[Proposal], str],
    here: Callable[[Proposal], bool],
) -> RenderableType:
    """Return the answers as sentences, each with the command that gets it.

    Args:
        answers: A comfortable model, the best, and a quick one.
        use: What for.
        users: Requests at once.
        called: Returns what people type for an answer.
        here: Returns whether its file is on this disk.
    """
    lines: list[Text] = []
    for answer in answers:
        kinds = listed(answer.kinds)
        lines.append(Text.assemble((f"{kinds.capitalize()}: ", "bold"), called(answer)))
        lines.append(Text("  " + " ".join(_sentences(answer, use, users, here=here(answer)))))
        verb = "serve" if here(answer) else "pull"
        lines += [Text(f"  relayd {verb} {shlex.quote(called(answer))}"), Text()]
    return Group(*lines[:-1])


def none_suits(use: Use, slower: Advice | None) -> str:
    """Return that no model suits a machine for a use, and what would come nearest."""
    if slower is None or not isinstance(slower.outcome, Placement):
        hint = "Ask for less context or speed" if use is Use.CHAT else "See --for chat"
        return f"No model for {use} suits this machine. {hint}, or see relayd recommend --all."
    profile, placement, candidate = PROFILES[use], slower.outcome, slower.ranked.candidate
    called = f"{slower.known.name}:{placement.form.quantization.name}"
    pace = f"{_about(placement.alone)} tokens/s"
    if profile.reply:
        pace = f"{profile.seconds(candidate.paced):.0f} s a turn"
    return (
        f"No model that is good enough for {use} is fast enough here. The nearest is {called}: {pace}, "
        f"quality {candidate.quality.score:.0f} of 100, {show_bytes(placement.form.nbytes)} to download."
    )


def listed(parts: Sequence[str]) -> str:
    """Return parts as a sentence has them: `one, two and three`."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def heading(use: Use, users: int) -> str:
    """Return what the answers are for: `For chat, one user (decoding 8,192 tokens deep):`."""
    whom = "one user" if users == 1 else f"{users} users at once"
    return f"For {use}, {whom} ({MEANT[use]}):"


MEANT: Mapping[Use, str] = {
    Use.CHAT: "speed 8k tokens deep, 8k of context or more",
    Use.AGENT: "seconds of a turn 48k tokens deep, 64k of context or more",
    Use.CODE: "speed 16k tokens deep, 16k of context or more",
    Use.REASONING: "speed 8k tokens deep, 16k of context or more",
    Use.VISION: "speed 4k tokens deep, with room for the projector",
    Use.EMBEDDING: "speed of inputs of 512 tokens",
    Use.LONG: "the most context at 8 tokens/s or more",
}


def _sentences(answer: Proposal, use: Use, users: int, *, here: bool) -> Iterator[str]:
    placement, candidate = answer.placement, answer.advice.ranked.candidate
    nbytes = placement.form.nbytes
    size = f"{show_bytes(nbytes)} to download ({_minutes(nbytes)} at 100 Mbit/s)"
    held = listed(tuple(_held(placement)))
    yield f"{'On this disk' if here else size}; takes {held}."
    yield f"{_speed_sentence(answer, use, users)}, {show_tokens(placement.context)} of context."
    yield f"Quality {candidate.quality.score:.0f} of 100, {basis(answer.advice, use)}."
    if note := _note(placement):
        yield note


def basis(advice: Advice, use: Use) -> str:
    """Return what the quality of a model is known by."""
    found = evidence(advice.known.facts, use)
    return f"by {', '.join(found)}" if found else "by its size and date (no benchmark is known)"


def _note(placement: Placement) -> str:
    runs = verdict(placement).partition(",")[0]
    return (
        f"Slower than it could be: {runs}."
        if placement.place in {Place.EXPERTS_ON_CPU, Place.PARTIAL}
        else ""
    )


def _minutes(nbytes: int) -> str:
    minutes = download_minutes(nbytes)
    return f"{minutes} min" if minutes < _MOST_MINUTES else f"{minutes / 60:.0f} h"


def _held(placement: Placement) -> Iterator[str]:
    gpus = [key for key in placement.needs if key != "cpu"]
    if len(gpus) > _NAMED_GPUS:
        yield f"{sum(placement.needs[key] for key in gpus) / GIB:.0f} GiB of {len(gpus)} GPUs"
        return
    for line in memory_of(placement, least=GIB).split("\n"):
        key, _, gib = line.partition(" ")
        yield f"{gib} GiB of {'RAM' if key == 'cpu' else key}"


def _speed_sentence(answer: Proposal, use: Use, users: int) -> str:
    placement, candidate = answer.placement, answer.advice.ranked.candidate
    profile = PROFILES[use]
    if use is Use.EMBEDDING:
        return f"Reads {_about(placement.prefill)} tokens/s"
    found = f"{_about(placement.alone)} tokens/s alone".capitalize()
    if users > 1:
        found += f", {_about(placement.decoding.together)} for {users} together"
    if profile.reply:
        turn = f"{show_tokens(profile.prompt)} read, {profile.reply} written"
        found += f", {profile.seconds(candidate.paced):.0f} s a turn ({turn})"
    return found


def _about(estimate: Estimate) -> str:
    """Return a speed as people say it: `about 42`, `roughly 40`."""
    value = f"{estimate.value:,.0f}" if estimate.value >= 10 else f"{estimate.value:.1f}"
    return (
        value
        if estimate.tag is Tag.MEASURED
        else f"{'roughly' if estimate.tag is Tag.WIDE else 'about'} {value}"
    )


def advice_table(groups: Mapping[Use, Sequence[Advice]], width: int) -> RenderableType:
    """Return the models to choose from, for each use.

    Args:
        groups: Use → the advice, cut to what is shown.
        width: Columns there are.
    """
    wide = width >= NARROW
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in HEADINGS if wide else [one for one in HEADINGS if one not in WIDE_ONLY]:
        table.add_column(
            heading,
            no_wrap=heading not in {"MODEL", "RUNS ON"},
            overflow="fold",
            justify="right" if heading in NUMBERS else "left",
        )
    for use, advices in groups.items():
        if len(groups) > 1:
            table.add_row(Text(f"for {use}:", style="bold"))
        for advice in advices:
            cells = zip(HEADINGS, _cells(advice, use), strict=False)
            table.add_row(*(Text(cell) for heading, cell in cells if wide or heading not in WIDE_ONLY))
        if not advices:
            table.add_row(Text("none"))
    return Group(table, Text(ABOUT_TABLE, style="dim"))


def _cells(advice: Advice, use: Use) -> Iterator[str]:
    """Yield what stands under each of `HEADINGS`."""
    placement = advice.outcome
    if not isinstance(placement, Placement):
        return
    known = "" if evidence(advice.known.facts, use) else "*"
    yield advice.known.name
    yield placement.form.quantization.name
    yield show_bytes(placement.form.nbytes)
    yield f"{advice.ranked.candidate.quality.score:.0f}{known or ' '}"
    rate = placement.prefill if use is Use.EMBEDDING else placement.alone
    yield f"{rate.value:.0f}" if rate.value >= 10 else f"{rate.value:.1f}"
    yield memory_of(placement, least=GIB)
    yield show_tokens(placement.context)
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


def advice_page(
    advice: Advice,
    parts: Sequence[Advice],
    budget: Budget,
    use: Use,
    extra: Iterable[tuple[str, str]],
    wanting: Fixes | None = None,
) -> RenderableType:
    """Return one model in full: how it runs, why, and what each of its files would ask.

    Args:
        advice: What is recommended for it.
        parts: Each of its files alone.
        budget: The machine.
        use: What it is wanted for.
        extra: More lines: label and text.
        wanting: What would make room for all of it on its devices.
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
    below = (Text(), *fixes_table(wanting)) if wanting else ()
    return Group(grid, Text(), table, *below, Text(LEGEND, style="dim"))


def fixes_table(wanting: Fixes) -> tuple[RenderableType, ...]:
    """Return what a model lacks, and a table of what would make room for it."""
    need, have = show_apart(wanting.need, wanting.have)
    lacks = f"{wanting.what}: {need}~ of {have}, {wanting.speed:.3g}~ tokens/s if there were room."
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("WHAT WOULD MAKE ROOM")
    for heading in ("MEMORY", "TOK/S"):
        table.add_column(heading, no_wrap=True, justify="right")
    table.add_column("FITS THEN", no_wrap=True)
    for one in wanting.fixes:
        enough = "yes" if one.enough else "not yet"
        table.add_row(one.what, f"-{show_bytes(one.saves)}", f"{-one.slower:+.2g}", enough)
    return Text(lacks), table


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

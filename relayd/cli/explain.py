"""relayd explain: a model's memory, by device and reason."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from relayd.advice.known import configured_form
from relayd.catalog import find_entry
from relayd.cli.catalog import known_catalog
from relayd.cli.support.display import ConsoleDisplay
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.terminal import show
from relayd.clock import SystemClock
from relayd.desired.engines import engine_at
from relayd.desired.explained import Decided, setup_for
from relayd.desired.judged import judge
from relayd.desired.machine import machine_at
from relayd.desired.site import Site
from relayd.engine.explain import Explanation
from relayd.engine.explain import explain as explained
from relayd.engine.memory import MemoryProbe
from relayd.errors import EngineError, UsageError
from relayd.files import expanded, is_file
from relayd.gguf import ModelMetadata
from relayd.gguf.companions import is_gguf
from relayd.hardware import Machine
from relayd.hardware.bandwidth import catalogued
from relayd.memory.setup import CACHE_TYPES
from relayd.memory.synthetic import header
from relayd.planner.demand import Demand
from relayd.planner.divergence import Quantization
from relayd.planner.placement import Form
from relayd.planner.simulate import simulate as described
from relayd.ui.explain import Compared, render_memory
from relayd.units import Bytes, show_apart, show_bytes


def explain(
    model: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A GGUF, or a model of the catalogue.")],
    context: Annotated[
        int, typer.Option(help="Tokens a slot can hold; 0 is what relayd would choose.", min=0)
    ] = 0,
    slots: Annotated[
        int, typer.Option(help="Requests at once; 0 is what relayd would choose.", min=0, max=256)
    ] = 0,
    kv_type: Annotated[str, typer.Option(help="Type of the KV cache: f16, q8_0, q4_0 …")] = "",
    flash_attention: Annotated[str, typer.Option("--flash-attn", help="on or off.")] = "",
    cache_ram: Annotated[
        int, typer.Option(help="MiB of RAM at most for earlier prompts; named, and not counted.", min=0)
    ] = 0,
    simulate: Annotated[str, typer.Option(help="Another machine, like gpu=4090:24,ram=64.")] = "",
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="Predict only, without asking the engine.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what memory a model takes, where, and why.

    What is not given is chosen as `relayd serve` would with nothing else on the machine. Memory is predicted,
    and confirmed by the engine on the header of the file.
    """
    decided = Decided(context, slots, _cache_type(kv_type), _switch(flash_attention), cache_ram)
    form, source = _source(model)
    site = Site()
    machine = (
        catalogued(described(simulate))
        if simulate
        else machine_at(site, display=ConsoleDisplay(quiet=as_json))
    )
    setup = setup_for(form, decided, machine, site, simulated=bool(simulate))
    if no_probe:
        probe, why_not = None, ""
    elif simulate and setup.gpus:
        probe, why_not = None, "another machine is described, and its GPUs are not here"
    else:
        probe, why_not = _probe(site, None if simulate else machine)
    found = explained(source, setup, probe, SystemClock())
    if as_json:
        print_json(found.document())
    else:
        _show(model, found, why_not, machine)


def _cache_type(name: str) -> str | None:
    if not name:
        return None
    if name not in CACHE_TYPES:
        raise UsageError(
            f"{name} is not a valid type of the KV cache", remedy=f"Choose one of {', '.join(CACHE_TYPES)}."
        )
    return name


def _switch(text: str) -> bool | None:
    if text not in {"on", "off", ""}:
        raise UsageError(f"--flash-attn is {text}: expected on or off")
    return text == "on" if text else None


def _source(model: str) -> tuple[Form, Path | ModelMetadata]:
    """Return the model to fit, and its file or the header that a catalogue entry's dimensions make.

    Raises:
        UsageError: It is neither, or the catalogue does not know its dimensions.
    """
    path = expanded(model)
    if is_gguf(path.name) or is_file(path):
        judge(path, None)
        return configured_form(path), path
    made = _known(model)
    nbytes = Bytes(sum(tensor.nbytes for tensor in made.tensors))
    return Form(Quantization(""), nbytes, 0.0, functools.cache(lambda: Demand(made))), made


def _known(name: str) -> ModelMetadata:
    entry = find_entry(known_catalog(), name).entry
    if entry.dimensions is None or entry.dimensions.unknown:
        missing = entry.dimensions.unknown if entry.dimensions else "its dimensions"
        raise UsageError(
            f"the catalogue does not know enough of {entry.name}: {missing}",
            remedy="Give the file instead: `relayd explain FILE.gguf`.",
        )
    return header(entry.dimensions, entry.context or 8192)


def _probe(site: Site, machine: Machine | None) -> tuple[MemoryProbe | None, str]:
    """Return a way to ask the installed engine, or why there is none."""
    try:
        engine = engine_at(site, machine=machine)
    except EngineError as error:
        return None, f"{error.message}. {error.remedy}"
    return MemoryProbe(engine, site.cache / "engine", site.environ), ""


def _show(name: str, found: Explanation, why_not: str, machine: Machine) -> None:
    cells = [Compared(cell.device, cell.part, cell.predicted, cell.confirmed) for cell in found.cells()]
    setup = found.setup
    title = (
        f"{name} ({found.architecture}): {setup.slots} x {setup.context // max(1, setup.slots)} tokens, "
        f"KV {setup.type_k}, flash attention {'on' if setup.flash_attention else 'off'}"
    )
    notes = list(_room(found, machine))
    notes += [f"Not in closed form, and padded: {reason}." for reason in found.prediction.unknown]
    notes += [f"Not confirmed: {reason}" for reason in (why_not, found.silence) if reason]
    show(render_memory(title, found.prediction, cells, notes))


def _room(found: Explanation, machine: Machine) -> Iterator[str]:
    """Yield need and room of each device, and what may come on top."""
    for device in machine.devices:
        if device.key in found.prediction.devices:
            need, have = found.need(device.key), device.memory_free
            needs, free = show_apart(need, have)
            verdict = "fits" if need <= have else f"{show_bytes(need - have)} too much"
            limit = found.prediction.limit(device.key)
            more = (
                f"; at most {show_bytes(limit)} more for earlier prompts, where it is free" if limit else ""
            )
            yield f"{device.key} ({device.name}): {needs} of {free} free, {verdict}{more}."

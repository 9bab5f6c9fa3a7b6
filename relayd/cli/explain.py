"""relayd explain: a model's memory, by device and reason."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from relayd.catalog import find_entry
from relayd.cli.catalog import known_catalog
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.terminal import show
from relayd.clock import SystemClock
from relayd.desired.judged import judge
from relayd.engine.explain import Explanation
from relayd.engine.explain import explain as explained
from relayd.engine.find import find_engine
from relayd.engine.installed import EngineShelf
from relayd.engine.memory import MemoryProbe
from relayd.errors import EngineError, UsageError
from relayd.files import expanded, is_file
from relayd.folders import cache_dir, data_dir
from relayd.gguf import ModelMetadata, read_metadata
from relayd.gguf.companions import is_gguf
from relayd.hardware import Machine
from relayd.hardware import probe as probe_hardware
from relayd.memory.setup import Gpu, Setup
from relayd.memory.synthetic import header
from relayd.memory.weights import repacked_types
from relayd.planner.simulate import simulate as described
from relayd.ui.explain import Compared, render_memory
from relayd.units import show_bytes


def explain(
    model: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A GGUF, or a model of the catalogue.")],
    context: Annotated[
        int, typer.Option(help="Tokens a slot can hold; 0 is what the model knows.", min=0)
    ] = 0,
    slots: Annotated[int, typer.Option(help="Requests at once.", min=1, max=256)] = 4,
    kv_type: Annotated[str, typer.Option(help="Type of the KV cache: f16, q8_0, q4_0 …")] = "f16",
    flash_attention: Annotated[str, typer.Option("--flash-attn", help="on or off.")] = "on",
    cache_ram: Annotated[int, typer.Option(help="MiB of RAM for earlier prompts.", min=0)] = 8192,
    simulate: Annotated[str, typer.Option(help="Another machine, like gpu=4090:24,ram=64.")] = "",
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="Predict only, without asking the engine.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what memory a model takes, where, and why.

    It is predicted, and confirmed by the engine on the header of the file.
    """
    if flash_attention not in {"on", "off"}:
        raise UsageError(f"--flash-attn is {flash_attention}: expected on or off")
    source, trained = _source(model)
    machine = described(simulate) if simulate else probe_hardware()
    gpus = machine.gpus if simulate else ()
    setup = Setup(
        context=(context or trained) * slots,
        slots=slots,
        type_k=kv_type,
        type_v=kv_type if flash_attention == "on" else "f16",
        flash_attention=flash_attention == "on",
        gpus=tuple(Gpu(gpu.key, float(gpu.memory_free)) for gpu in gpus),
        repacked=repacked_types(machine.arch, machine.cpu.flags),
        cache_ram_mib=cache_ram,
    )
    probe, why_not = (None, "") if no_probe else _probe(probe_hardware().cpu_key(), os.environ)
    if gpus:
        probe, why_not = None, "another machine is described, and its GPUs are not here"
    found = explained(source, setup, probe, SystemClock())
    if as_json:
        print_json(found.document())
    else:
        _show(model, found, why_not, machine)


def _source(model: str) -> tuple[Path | ModelMetadata, int]:
    """Return the file, or the header that a catalogue entry's dimensions make; and its trained context.

    Raises:
        UsageError: It is neither, or the catalogue does not know its dimensions.
    """
    path = expanded(model)
    if is_gguf(path.name) or is_file(path):
        judge(path, None)
        return path, read_metadata(path).whole("context_length")
    return _known(model)


def _known(name: str) -> tuple[ModelMetadata, int]:

    entry = find_entry(known_catalog(), name).entry
    if entry.dimensions is None or entry.dimensions.unknown:
        missing = entry.dimensions.unknown if entry.dimensions else "its dimensions"
        raise UsageError(
            f"the catalogue does not know enough of {entry.name}: {missing}",
            remedy="Give the file instead: `relayd explain FILE.gguf`.",
        )
    context = entry.context or 8192
    return header(entry.dimensions, context), context


def _probe(cpu_key: str, environ: Mapping[str, str]) -> tuple[MemoryProbe | None, str]:
    """Return a way to ask the installed engine, or why there is none."""
    try:
        shelf = EngineShelf(data_dir() / "engines", cpu_key)
        engine = find_engine(shelf, cache=cache_dir() / "engine", environ=environ)
    except EngineError as error:
        return None, f"{error.message}. {error.remedy}"
    return MemoryProbe(engine, cache_dir() / "engine", environ), ""


def _show(name: str, found: Explanation, why_not: str, machine: Machine) -> None:

    cells = [Compared(cell.device, cell.part, cell.predicted, cell.confirmed) for cell in found.cells()]
    setup = found.setup
    title = (
        f"{name} ({found.architecture}): {setup.context} tokens for {setup.slots} slots, "
        f"KV {setup.type_k}, flash attention {'on' if setup.flash_attention else 'off'}"
    )
    notes = list(_room(found, machine))
    notes += [f"Not in closed form: {reason}." for reason in found.prediction.unknown]
    notes += [f"Not confirmed: {reason}" for reason in (why_not, found.silence) if reason]
    notes.append(
        f"Header read in {found.read_seconds * 1000:.1f} ms, "
        f"predicted in {found.predict_seconds * 1000:.1f} ms, "
        f"confirmed in {found.confirm_seconds * 1000:.1f} ms."
    )
    show(render_memory(title, found.prediction, cells, notes))


def _room(found: Explanation, machine: Machine) -> Iterator[str]:
    """Yield need and room of each device."""
    for device in machine.devices:
        if device.key in found.prediction.devices:
            need, have = found.prediction.total(device.key), device.memory_free
            verdict = "fits" if need <= have else f"{show_bytes(need - have)} too much"
            yield f"{device.key} ({device.name}): {show_bytes(need)} of {show_bytes(have)} free, {verdict}."

"""relayd hardware: what is this machine, as relayd plans for it."""

import os
from dataclasses import replace
from typing import Annotated

import msgspec
import typer

from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.terminal import MAIL_COLUMNS, show
from relayd.clock import SystemClock
from relayd.config.paths import cache_dir, data_dir
from relayd.engine.devices import list_devices
from relayd.engine.find import find_engine
from relayd.engine.installed import Shelf
from relayd.errors import EngineError
from relayd.hardware import Machine, document, merge_engine_devices, parse_devices, probe
from relayd.hardware.measure import measured, remembered
from relayd.ui.hardware import render_machine


def hardware(
    measure: Annotated[bool, typer.Option("--measure", help="Measure how fast RAM is read; 0.3 s.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the CPU, the memory and the devices for models."""
    machine = _this_machine(measure=measure)
    if as_json:
        print_json(msgspec.to_builtins(document(machine)))
    else:
        show(render_machine(machine), MAIL_COLUMNS)


def _this_machine(*, measure: bool) -> Machine:

    cache = cache_dir() / "hardware"
    machine = probe()
    machine = measured(machine, cache, SystemClock()) if measure else remembered(machine, cache)
    return as_the_engine_sees(machine)


def as_the_engine_sees(machine: Machine) -> Machine:
    """Return the machine corrected by the engine's own list of devices, or with a note why it is not.

    Args:
        machine: What the drivers say.
    """
    shelf = Shelf(data_dir() / "engines", machine.cpu_key())
    try:
        engine = find_engine(shelf, cache=cache_dir() / "engine", environ=os.environ)
        said = list_devices(engine.path, os.environ, machine.cuda_order)
    except EngineError as error:
        note = f"The engine was not asked for its devices: {error.message}"
        return replace(machine, notes=(*machine.notes, note))
    return merge_engine_devices(machine, parse_devices(said))

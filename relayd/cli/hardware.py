"""relayd hardware: this machine as relayd plans for it."""

from typing import Annotated

import msgspec
import typer

from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.terminal import MAIL_COLUMNS, show
from relayd.clock import SystemClock
from relayd.desired.machine import as_the_engine_sees
from relayd.desired.site import Site
from relayd.hardware import Machine, document, probe
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
    site = Site()
    cache, machine = site.cache / "hardware", probe()
    machine = measured(machine, cache, SystemClock()) if measure else remembered(machine, cache)
    return as_the_engine_sees(machine, site)

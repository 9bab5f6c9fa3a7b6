"""What this machine is, as its engine sees it; what was measured once is remembered."""

from dataclasses import replace

from relayd.clock import SystemClock
from relayd.desired.display import Display
from relayd.desired.engines import engine_at
from relayd.desired.site import Site
from relayd.engine import Engine
from relayd.engine.devices import list_devices
from relayd.errors import EngineError
from relayd.hardware import Machine, merge_engine_devices, parse_devices, probe
from relayd.hardware.measure import measured, remembered


def machine_at(site: Site, display: Display, engine: Engine | None = None) -> Machine:
    """Return this machine as its engine sees it; how fast it reads RAM is measured once.

    Args:
        site: Where measurements are remembered.
        display: Shown to while one is made.
        engine: The engine; None looks for one.
    """
    cache = site.cache / "hardware"
    machine = remembered(probe(), cache)
    if machine.ram_bandwidth is None:
        with display.doing("Measuring how fast RAM is read …"):
            machine = measured(machine, cache, SystemClock())
    return as_the_engine_sees(machine, site, engine)


def as_the_engine_sees(machine: Machine, site: Site, engine: Engine | None = None) -> Machine:
    """Return the machine corrected by the engine's own list of devices, or with a note why it is not.

    Args:
        machine: What the drivers say.
        site: Where the engine is looked for, and whose environment it gets.
        engine: The engine; None looks for one.
    """
    try:
        said = list_devices(
            (engine or engine_at(site, machine=machine)).path, site.environ, machine.cuda_order
        )
    except EngineError as error:
        note = f"The engine was not asked for its devices: {error.message}"
        return replace(machine, notes=(*machine.notes, note))
    return merge_engine_devices(machine, parse_devices(said))

"""What this machine is, as its engine sees it; what was measured or listed once is remembered."""

import contextlib
import hashlib
from dataclasses import replace

import msgspec

from relayd.clock import SystemClock
from relayd.desired.display import Display
from relayd.desired.engines import engine_at
from relayd.desired.site import Site
from relayd.engine import Engine
from relayd.engine.devices import list_devices
from relayd.errors import EngineError, StateError
from relayd.files import private_folder, write_atomic
from relayd.hardware import Machine, merge_engine_devices, parse_devices, probe
from relayd.hardware.measure import is_due, measured, remembered


class _Listing(msgspec.Struct, frozen=True):
    key: str
    text: str


def machine_at(site: Site, engine: Engine | None = None, display: Display | None = None) -> Machine:
    """Return this machine as its engine sees it; how fast it reads RAM is measured if it was not before.

    That takes 0.15 to 0.3 s, once for a CPU, its cores and its RAM, with an engine or without; again where
    the machine was busy.

    Args:
        site: Where measurements are remembered.
        engine: The engine; None looks for one.
        display: Shown to while it is measured.
    """
    cache = site.cache / "hardware"
    machine = remembered(probe(), cache)
    clock = SystemClock()
    if is_due(machine, cache, clock):
        doing = display.doing("Measuring how fast RAM is read …") if display else contextlib.nullcontext()
        with doing:
            machine = measured(machine, cache, clock)
    return as_the_engine_sees(machine, site, engine)


def as_the_engine_sees(machine: Machine, site: Site, engine: Engine | None = None) -> Machine:
    """Return the machine corrected by the engine's own list of devices, or with a note why it is not.

    Args:
        machine: What the drivers say.
        site: Where the engine is looked for, and whose environment it gets.
        engine: The engine; None looks for one.
    """
    try:
        said = _listed(engine or engine_at(site, machine=machine), machine, site)
    except EngineError as error:
        note = f"The engine was not asked for its devices: {error.message}"
        return replace(machine, notes=(*machine.notes, note))
    return merge_engine_devices(machine, parse_devices(said))


def _listed(engine: Engine, machine: Machine, site: Site) -> str:
    """Return the devices that the engine lists; it is asked once for each build, driver and set of devices.

    Raises:
        EngineError: It does not answer.
    """
    build = engine.path.stat()
    devices = [(gpu.key, gpu.uuid, gpu.name, gpu.driver, gpu.memory_total) for gpu in machine.gpus]
    key = repr((str(engine.path), build.st_size, build.st_mtime_ns, machine.cuda_order, devices))
    file = site.cache / "engine" / f"devices-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    with contextlib.suppress(OSError, msgspec.DecodeError):
        found = msgspec.json.decode(file.read_bytes(), type=_Listing)
        if found.key == key:
            return found.text
    text = list_devices(engine.path, site.environ, machine.cuda_order)
    with contextlib.suppress(StateError):  # it is asked again the next time
        private_folder(file.parent)
        write_atomic(file, msgspec.json.encode(_Listing(key, text)))
    return text

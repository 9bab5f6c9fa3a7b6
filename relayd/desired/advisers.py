"""What advice is made from at a site: machine, catalogue, files and engine."""

from pathlib import Path

import msgspec

from relayd.advice import Adviser, find_files
from relayd.advice.measured import calibrated
from relayd.config import Loaded, model_name
from relayd.config.schema import MemoryBudget
from relayd.desired.disk import models_on_disk
from relayd.desired.display import Display
from relayd.desired.engines import engine_at
from relayd.desired.machine import machine_at
from relayd.desired.make import Selection, plan_at, room_at
from relayd.desired.site import Site
from relayd.engine import Engine
from relayd.engine.memory import MemoryProbe
from relayd.errors import EngineError
from relayd.folders import own_paths
from relayd.hardware import Machine
from relayd.hardware.bandwidth import catalogued
from relayd.models.skipped import Skipped
from relayd.planner.budget import Budget
from relayd.planner.reserve import allowance
from relayd.planner.simulate import simulated as described
from relayd.store import remembered_runs


def adviser_at(
    site: Site, loaded: Loaded, display: Display, simulated: str = "", *, instead_of: str = ""
) -> Adviser:
    """Return everything that advice is made from.

    On this machine it is advice beside the models that are configured, which keep what they are planned with.

    Args:
        site: Where to look.
        loaded: What the operator wants.
        display: Shown to while something is measured.
        simulated: Another machine, as `--simulate` describes it; "" is this one.
        instead_of: A model that is asked about: where it is configured, its memory counts as free.

    Raises:
        UsageError: That machine cannot be understood.
        ConfigError: The catalogue is wrong.
    """
    config = loaded.config
    engine = _engine(site, config.engine.path)
    other = described(simulated) if simulated else None
    machine = catalogued(other.machine) if other else machine_at(site, engine, display)
    entries = site.catalog()
    named = [Path(model.file) for model in config.model]
    skipped = list[Skipped]()
    found = models_on_disk(site, config.models.folders, skipped.append)
    files = find_files(entries, found, named, skipped.append, engine.build if engine else None)
    return Adviser(
        machine=machine,
        entries=entries,
        files=files,
        skipped=tuple(skipped),
        winners=site.cache / "advice",
        models=site.data / "models",
        engine=engine,
        probe=MemoryProbe(engine, site.cache / "engine", site.environ) if engine else None,
        simulated=bool(simulated),
        assumed=other.assumed if other else None,
        runs=() if simulated else tuple(remembered_runs(site.state)),
        room=allowance(machine, MemoryBudget())
        if simulated
        else _room_beside(site, loaded, engine, machine, instead_of),
    )


def measured_budget(plain: Budget, state: Path) -> Budget:
    """Return a machine as fast as its own benchmarks, which are kept in the state folder, show. Blocks."""
    return calibrated(plain, remembered_runs(state))


def _room_beside(
    site: Site, loaded: Loaded, engine: Engine | None, machine: Machine, instead_of: str
) -> Budget:
    """Return what the configured models leave of this machine."""
    config = loaded.config
    meant = {instead_of, model_name(instead_of)} if instead_of else set[str]()
    others = tuple(one for one in config.model if not meant & {one.name, *one.aliases})
    if not others:
        return room_at(site, config, machine)
    beside = Selection(loaded, msgspec.structs.replace(config, model=others), chooses=False)
    return plan_at(beside, site, engine, own_paths(site.environ, site.home)).plans.fleet.left


def _engine(site: Site, configured: str) -> Engine | None:
    try:
        return engine_at(site, configured)
    except EngineError:
        return None

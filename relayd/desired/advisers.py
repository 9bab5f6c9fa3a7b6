"""What advice is made from at a site: machine, catalogue, files and engine."""

from pathlib import Path

from relayd.advice import Adviser, MemoryProbe, catalogued, find_files, simulate
from relayd.config import Config
from relayd.desired.disk import models_on_disk
from relayd.desired.display import Display
from relayd.desired.engines import engine_at
from relayd.desired.machine import machine_at
from relayd.desired.site import Site
from relayd.engine import Engine
from relayd.errors import EngineError
from relayd.store import remembered_runs


def adviser_at(site: Site, config: Config, display: Display, simulated: str = "") -> Adviser:
    """Return everything that advice is made from.

    Args:
        site: Where to look.
        config: What the operator wants.
        display: Shown to while something is measured.
        simulated: Another machine, as `--simulate` describes it; "" is this one.

    Raises:
        UsageError: That machine cannot be understood.
        ConfigError: The catalogue is wrong.
    """
    engine = _engine(site, config.engine.path)
    machine = catalogued(simulate(simulated)) if simulated else machine_at(site, display, engine)
    entries = site.catalog()
    named = [Path(model.file) for model in config.model]
    return Adviser(
        machine=machine,
        entries=entries,
        files=find_files(entries, models_on_disk(site, config.models.folders), named),
        models=site.data / "models",
        engine=engine,
        probe=MemoryProbe(engine, site.cache / "engine", site.environ) if engine else None,
        simulated=bool(simulated),
        runs=() if simulated else tuple(remembered_runs(site.state)),
    )


def _engine(site: Site, configured: str) -> Engine | None:
    try:
        return engine_at(site, configured)
    except EngineError:
        return None

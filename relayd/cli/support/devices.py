"""On which devices a replica works, for answers that show all of their figures."""

from pathlib import Path

from relayd.daemon.report import StatusReport
from relayd.desired.machine import as_the_engine_sees
from relayd.desired.site import Site
from relayd.errors import ModelFileError
from relayd.gguf import read_metadata
from relayd.hardware import probe, residence


def devices_of(replica: str, report: StatusReport) -> tuple[str, ...]:
    """Return the devices that a replica of a status report works on; none if it is not in there."""
    replicas = ((model, one) for model in report.models for one in model.replicas)
    model, found = next(((model, one) for model, one in replicas if one.name == replica), (None, None))
    if model is None or found is None:
        return ()
    machine = probe()
    try:
        layers = read_metadata(Path(model.file)).whole("block_count")
    except ModelFileError:
        layers = None
    seen = as_the_engine_sees(machine, Site()) if machine.gpus else machine
    return residence(seen, found.pid or 0, found.command, layers)

"""The models and folders that commands look at."""

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from relayd.catalog import CatalogEntry
from relayd.cli.support.control import daemon_client
from relayd.cli.support.given import given_settings
from relayd.desired import disk
from relayd.desired.site import Site
from relayd.desired.whole import whole_models
from relayd.errors import DaemonError
from relayd.models.choice import quant_of
from relayd.models.ondisk import Found
from relayd.models.shelf import ModelRecord, ModelShelf
from relayd.models.skipped import Skipped, passed_over


def own_shelf() -> ModelShelf:
    """Return relayd's own folder of models."""
    return Site().shelf


def known_models() -> tuple[CatalogEntry, ...]:
    """Return the catalogue."""
    return Site().catalog()


def models_on_disk(skip: Callable[[Skipped], None] = passed_over) -> list[Found]:
    """Return every model on this disk, with what the catalogue calls it.

    Args:
        skip: Called with each file that is called like a model and is none to serve.
    """
    loaded, site = given_settings()
    return disk.models_on_disk(site, loaded.config.models.folders, skip)


def called(record: ModelRecord) -> str:
    """Return the name of a model that relayd has, as `relayd models` lists it."""
    here = Path(record.parts[0].path)
    return next((one.name for one in models_on_disk() if one.files[0] == here), record.name)


def whole_models_on_disk(skip: Callable[[Skipped], None]) -> list[Found]:
    """Return every model on this disk that is all there.

    Args:
        skip: Called with each file that is called like a model and is none to serve, or is cut.
    """
    return whole_models(models_on_disk(skip), Site().cache, skip)


def models_configured(found: Sequence[Found]) -> list[Found]:
    """Return the models of the configuration whose files none of these has."""
    here = {os.path.realpath(one.files[0]) for one in found}
    files = [(one.name, Path(one.file)) for one in given_settings()[0].config.model]
    return [
        Found(name, (file,), file.stat().st_size, "folder", quant=quant_of(file.name))
        for name, file in files
        if os.path.realpath(file) not in here and file.is_file()
    ]


def limit_of() -> tuple[int, int]:
    """Return what this machine can ever hold, in RAM and on devices of their own."""
    from relayd.hardware import probe

    machine = probe()
    return machine.memory.ceiling, sum(gpu.memory_total for gpu in machine.gpus if not gpu.unified)


def room_for_models() -> int:
    """Return the bytes that models may take of this machine, by the configuration that holds here."""
    from relayd.hardware import probe
    from relayd.planner.reserve import allowance

    allowed = allowance(probe(), given_settings()[0].config.memory)
    return sum(room.usable for room in allowed.rooms if not room.unified)


def fits_here() -> Callable[[int], bool]:
    """Return a function: whether this machine can ever hold so many bytes of weights.

    RAM is looked at where a size is asked of, devices only where RAM does not hold it.
    """

    @cache
    def ram() -> int:
        from relayd.hardware import probe_memory

        return probe_memory(gpus=False).memory.ceiling

    every = cache(lambda: sum(limit_of()))
    return lambda size: size <= ram() or size <= every()


def served_files() -> set[str]:
    """Return the files that a daemon serves now; none when no daemon answers."""
    try:
        report = daemon_client().status()
    except DaemonError:
        return set()
    return {
        os.path.realpath(model.file)
        for model in report.models
        if any(replica.pid for replica in model.replicas)
    }


def models_given_up() -> dict[str, str]:
    """Return why a running daemon has given up all replicas of a model, by name; nothing without a daemon."""
    try:
        report = daemon_client().status()
    except DaemonError:
        return {}
    return {
        model.name: "; ".join(dict.fromkeys(one.last_exit.message for one in model.replicas if one.last_exit))
        for model in report.models
        if model.replicas and all(one.state == "fatal" for one in model.replicas)
    }

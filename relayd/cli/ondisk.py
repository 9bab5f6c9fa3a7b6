"""Which models and folders does a command look at?"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relayd.advice import Pick
    from relayd.catalog import CatalogEntry
    from relayd.config import Model
    from relayd.engine import Engine
    from relayd.models.ondisk import Found
    from relayd.models.shelf import Shelf


def own_shelf() -> "Shelf":
    """Return relayd's own folder of models."""
    from relayd.config.paths import data_dir
    from relayd.models.shelf import Shelf

    return Shelf(data_dir() / "models")


def known_models() -> "tuple[CatalogEntry, ...]":
    """Return the catalogue."""
    from relayd.cli.catalog import known_catalog

    return known_catalog()


def models_on_disk() -> "list[Found]":
    """Return every model on this disk, with what the catalogue calls it."""
    from relayd.config.paths import data_dir
    from relayd.models.ondisk import identified
    from relayd.models.stores import places_of, scan

    places = places_of(os.environ, Path.home(), data_dir(), _configured_folders())
    return identified(scan(places), known_models())


def servable_model(name: str) -> "Model":
    """Return how a model on this disk is served, with its names; out of a llamafile it is taken first.

    Raises:
        UsageError: No model on this disk has that name, or more than one.
    """
    from rich.console import Console

    from relayd.clock import SystemClock
    from relayd.config import Model, model_name
    from relayd.models.bring import servable
    from relayd.models.ondisk import find_on_disk
    from relayd.ui.models import shown_pull

    found, clock = find_on_disk(models_on_disk(), name), SystemClock()
    file = found.files[0]
    if found.embedded:
        with shown_pull(Console(stderr=True), clock.monotonic) as progress:
            file = servable(found, own_shelf(), clock, progress.at)
    projector = str(found.projector or "")
    return Model(name=model_name(found.name), file=str(file), projector=projector, aliases=found.aliases)


def models_to_serve(engine: "Engine", running: "tuple[Model, ...]" = ()) -> "Pick":
    """Return the models on this disk that this machine serves when nobody says which.

    Args:
        engine: What runs them.
        running: What was chosen earlier and stays; the others get the memory that is left.
    """
    from relayd.advice import Pick, budget, pick
    from relayd.cli.recommend import this_machine
    from relayd.config import told_apart

    here = [one for one in models_on_disk() if not one.embedded]
    served = {one.file for one in running}
    kept = {one.model or one.name for one in here if str(one.files[0]) in served}
    others = [one for one in here if (one.model or one.name) not in kept]
    picked = pick(others, budget(this_machine()), engine.features) if others else Pick((), ())
    return Pick(told_apart([*running, *picked.models]), picked.left_out)


def limit_of() -> tuple[int, int]:
    """Return what this machine can ever hold, in RAM and on devices of their own."""
    from relayd.hardware import probe

    machine = probe()
    return machine.memory.ceiling, sum(gpu.memory_total for gpu in machine.gpus if not gpu.unified)


def fits_here() -> "Callable[[int], bool]":
    """Return what tells whether this machine can ever hold so many bytes of weights."""
    limit = sum(limit_of())
    return lambda size: size <= limit


def served_files() -> set[str]:
    """Return the files that a daemon serves now; none when no daemon answers."""
    from relayd.cli.support.control import daemon_client
    from relayd.errors import DaemonError

    try:
        report = daemon_client().get("status")
    except DaemonError:
        return set()
    return {
        os.path.realpath(model["file"])
        for model in report["models"]
        if any(replica["pid"] for replica in model["replicas"])
    }


def _configured_folders() -> "Sequence[str]":
    from relayd.config import load

    return load(None, os.environ, Path.home(), Path.cwd()).config.models.folders

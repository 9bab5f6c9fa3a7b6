"""Which models `relayd serve` chooses from the disk where none is configured, and keeps while they run.

What runs holds memory that a new choice would count as taken, so it stays: over a reload, an upgrade and a
crash of the daemon.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from relayd.advice import Pick, pick
from relayd.config import Model, told_apart
from relayd.config.migrate import written_model
from relayd.desired.running import running_replicas
from relayd.engine import Features
from relayd.files import write_atomic
from relayd.models.ondisk import Found
from relayd.planner.budget import Budget

_FILE = "picked.json"


def models_to_serve(
    found: Iterable[Found], budget: Budget, features: Features, running: tuple[Model, ...] = ()
) -> Pick:
    """Return the models on disk that this machine serves when none is named.

    Args:
        found: What is on disk.
        budget: What may be used of the machine.
        features: What the engine knows.
        running: What was chosen earlier and stays; the others get the memory that is left.
    """
    here = [one for one in found if not one.embedded]
    served = {one.file for one in running}
    kept = {one.model or one.name for one in here if str(one.files[0]) in served}
    others = [one for one in here if (one.model or one.name) not in kept]
    picked = pick(others, budget, features) if others else Pick((), ())
    return Pick(told_apart([*running, *picked.models]), picked.left_out, picked.skipped)


def remember(runtime: Path, models: tuple[Model, ...]) -> None:
    """Write down what was chosen.

    Raises:
        StateError: The folder cannot be written.
    """
    write_atomic(runtime / _FILE, msgspec.json.encode(models))


def still_running(runtime: Path) -> tuple[Model, ...]:
    """Return what was chosen and has a living replica."""
    try:
        noted = msgspec.json.decode((runtime / _FILE).read_bytes(), type=list[dict[str, Any]])
        chosen = msgspec.convert([written_model(one) for one in noted], tuple[Model, ...])
    except (OSError, msgspec.DecodeError):
        return ()
    alive = running_replicas(runtime)
    return tuple(one for one in chosen if f"{one.name}#0" in alive)

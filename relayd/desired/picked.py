"""Which models `relayd serve` offers and loads where none is configured, and keeps while they run.

What runs holds memory that a new choice would count as taken, so it stays: over a reload, an upgrade and a
crash of the daemon.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from relayd.advice import MOST_LOADED, Pick, pick
from relayd.config import NAME, Config, Model, told_apart
from relayd.config.migrate import written_model
from relayd.desired.lines import by_room
from relayd.desired.plans import ModelPlans
from relayd.desired.remembered import RememberedModel
from relayd.desired.running import running_replicas
from relayd.engine import Features
from relayd.files import write_atomic
from relayd.models.ondisk import Found
from relayd.models.skipped import Skipped
from relayd.planner.budget import Budget

_FILE = "picked.json"

NAMED = 3
"""How many models a note names."""

NOTHING_REMEMBERED: Mapping[str, RememberedModel] = {}


def models_to_serve(
    found: Iterable[Found],
    budget: Budget,
    features: Features,
    running: tuple[Model, ...] = (),
    remembered: Mapping[str, RememberedModel] = NOTHING_REMEMBERED,
) -> Pick:
    """Return the models on disk that this machine serves when none is named: all of them.

    Args:
        found: What is on disk.
        budget: What may be used of the machine.
        features: What the engine knows.
        running: What was chosen earlier and stays; what else is loaded gets the memory that is left.
        remembered: Where models were placed before, by name.
    """
    served = {one.file for one in running}
    others = [one for one in _each_once(found) if str(one.files[0]) not in served]
    for one in running:
        entry = remembered.get(one.name)
        for replica in entry.replicas if entry and one.load == "start" else ():
            budget = budget.minus(by_room(replica.needs), one.name)
    most = max(0, MOST_LOADED - sum(one.load == "start" for one in running))
    picked = pick(others, budget, features, most=most)
    return Pick(_named_apart([*running, *picked.models]), picked.skipped)


def on_demand(models: Iterable[Model]) -> tuple[Model, ...]:
    """Return models that are loaded when a client asks for them, and planned alone."""
    standard = Model(name="", file="")
    return tuple(
        msgspec.structs.replace(
            model,
            load="demand",
            context=standard.context,
            slots=standard.slots,
            cache_ram_mib=standard.cache_ram_mib,
            placement=standard.placement,
        )
        for model in models
    )


def offered(config: Config, plans: ModelPlans, skipped: list[Skipped]) -> tuple[Config, ModelPlans, str]:
    """Return configuration and plan of what can be served of what is on disk, and a note on the rest.

    Args:
        config: All models on disk.
        plans: What becomes of them.
        skipped: Files that are none to serve; those that relayd cannot plan are added.
    """
    files = {model.name: Path(model.file) for model in config.model}
    skipped += [Skipped(files[name], why) for name, why in plans.unreadable.items()]
    large = {one.model for one in plans.plan if one.refused}
    out = large | plans.unreadable.keys()
    served = with_aliases([model for model in config.model if model.name not in out])
    return (
        msgspec.structs.replace(config, model=served),
        replace(
            plans,
            plan=tuple(one for one in plans.plan if one.model not in out),
            cold=tuple(one for one in plans.cold if one.model not in out),
        ),
        _too_large(sorted(large)),
    )


def _too_large(names: Sequence[str]) -> str:
    """Return a note on models that this machine cannot load at all; "" for none."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    which = "1 model is" if len(names) == 1 else f"{len(names)} models are"
    return f"{which} too large for this machine: {', '.join(names[:NAMED])}{more}" if names else ""


def with_aliases(models: Sequence[Model]) -> tuple[Model, ...]:
    """Return models of which no two answer to one name: an alias stays with the first that has it."""
    names, found = {model.name for model in models}, []
    for model in models:
        aliases = tuple(one for one in model.aliases if one not in names and NAME.fullmatch(one))
        names |= {*aliases}
        found.append(msgspec.structs.replace(model, aliases=aliases))
    return tuple(found)


def _each_once(found: Iterable[Found]) -> list[Found]:
    """Return models that can be served where they are, a copy in a second store left out."""
    kept: dict[tuple[str, int], Found] = {}
    for one in found:
        if not one.embedded:
            kept.setdefault((one.name.casefold(), one.bytes), one)
    return [*kept.values()]


def _named_apart(models: Sequence[Model]) -> tuple[Model, ...]:
    """Return models with different names; what they answer to besides is for `with_aliases`."""
    plain = told_apart(msgspec.structs.replace(model, aliases=()) for model in models)
    return tuple(
        msgspec.structs.replace(named, aliases=model.aliases)
        for named, model in zip(plain, models, strict=True)
    )


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

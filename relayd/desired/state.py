"""Everything that a daemon is given (desired state), and how it is made from a command line."""

import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from relayd.config import Config, Loaded, Model, check_exposure, check_tls
from relayd.desired.arguments import ServeArguments
from relayd.desired.cold import Cold
from relayd.desired.disk import models_on_disk
from relayd.desired.display import Display
from relayd.desired.engines import engine_at, engine_for
from relayd.desired.make import NO_ENGINE, Made, Selection, plan_at, select
from relayd.desired.picked import remember
from relayd.desired.remembered import RememberedModel, write_plans
from relayd.desired.site import Site
from relayd.engine import Engine
from relayd.errors import EngineMissing
from relayd.folders import Paths, make_folders, own_paths
from relayd.gguf.facts import FileRecord
from relayd.planner import Planned
from relayd.planner.budget import Budget

NO_ARGUMENTS = ServeArguments()

SYSTEM_ENGINE_FILE = Path("/etc/llama.cpp/config.ini")
"""Defaults that llama-server reads and that nothing switches off."""


@dataclass(frozen=True, slots=True)
class DesiredState:
    """Everything a daemon is given.

    Attributes:
        config: What the operator wants.
        plan: The replicas that are wanted, with what each needs; cold ones included.
        engine: The llama-server that runs them.
        paths: Where state, sockets and logs are; the folders exist.
        environ: The environment of which replicas see an allow-list.
        sources: Files and variables the configuration came from.
        warnings: What the operator should know, shown by `status`.
        standing: Those that another plan of the same configuration does not change.
        cold: The replicas that do not fit beside the others, and are not started.
        budget: What models may take of the machine; None where nothing was planned.
        on_terminal: Whether it was typed on a terminal, whose end ends the daemon too.
        arguments: What was typed after `relayd serve`.
        site: Where it was typed.
        to_remember: Where every model was placed.
        chosen: What relayd chose by itself; None where models are configured or named.
        away: Why models cannot be started for want of a file, by name; their replicas are in `plan`.
        files: What model files state that were read for the plan, by path.
    """

    config: Config
    plan: tuple[Planned, ...]
    engine: Engine
    paths: Paths
    environ: Mapping[str, str]
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    standing: tuple[str, ...] = ()
    cold: tuple[Cold, ...] = ()
    budget: Budget | None = None
    on_terminal: bool = False
    arguments: ServeArguments = NO_ARGUMENTS
    site: Site = field(default_factory=Site)
    to_remember: tuple[RememberedModel, ...] = ()
    chosen: tuple[Model, ...] | None = None
    away: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, FileRecord] = field(default_factory=dict)


def desired_state(
    arguments: ServeArguments, site: Site, display: Display, given_up: Collection[str] = ()
) -> DesiredState:
    """Read the configuration, check it, plan it, and return everything a daemon is given.

    An engine is installed if there is none.

    Args:
        arguments: What was typed.
        site: Where.
        display: Shows what takes long.
        given_up: Models that a running daemon has given up; they take what the others leave.

    Raises:
        RelaydError: It cannot be followed; nothing was started.
    """
    selected = select(arguments, site, display)
    config = selected.config
    check_tls(config.server.tls_cert, config.server.tls_key)
    check_exposure(
        config.server.listen,
        config.server.api_key,
        always_keyed=config.server.require_key == "always",
        insecure=arguments.insecure_bind,
    )
    engine = _engine(config, site, display)
    own = own_paths(site.environ, site.home, demo=arguments.demo_alone)
    make_folders(own)
    with display.doing("Looking at the models on this disk …") if selected.chooses else nullcontext():
        made = plan_at(selected, site, None if engine is NO_ENGINE else engine, own, given_up=given_up)
    standing = (*made.standing, *_warnings(insecure=arguments.insecure_bind))
    return DesiredState(
        config=made.config,
        plan=made.plans.plan,
        engine=engine,
        paths=own,
        environ=dict(site.environ),
        sources=selected.loaded.sources,
        warnings=(*standing, *_lasting(made)),
        standing=standing,
        cold=made.plans.cold,
        budget=made.plans.fleet.before,
        on_terminal=sys.stdin is not None and sys.stdin.isatty(),
        arguments=arguments,
        site=site,
        to_remember=made.plans.remembered,
        chosen=made.config.model if selected.chooses else None,
        away=made.plans.away,
        files=made.plans.files,
    )


def _engine(config: Config, site: Site, display: Display) -> Engine:
    """Return the engine that runs replicas; where only other machines serve, none is installed for that."""
    if not config.model and (config.upstream or config.hub.takes_others):
        try:
            return engine_at(site, config.engine.path)
        except EngineMissing:
            if config.upstream or not models_on_disk(site, config.models.folders):
                return NO_ENGINE
    return engine_for(site, display, config.engine.path, config.engine.release_sha256)


def planned_anew(desired: DesiredState, models: Collection[str]) -> DesiredState:
    """Return what a daemon is given, with another plan of the same configuration. Nothing is written.

    No file of the configuration is read again: what an operator has edited meanwhile is followed by a reload.

    Args:
        desired: What it was given.
        models: Models whose earlier plans, and replicas that run, are left out of account; they are placed
            around the other models that run, and before those that do not.

    Raises:
        RelaydError: No plan can be made; nothing was changed.
    """
    selected = Selection(Loaded(desired.config, desired.sources, ()), desired.config, chooses=False)
    made = plan_at(selected, desired.site, desired.engine, desired.paths, anew=models)
    return replace(
        desired,
        plan=made.plans.plan,
        warnings=(*desired.standing, *_lasting(made)),
        cold=made.plans.cold,
        budget=made.plans.fleet.before,
        to_remember=made.plans.remembered,
        away=made.plans.away,
        files=made.plans.files,
    )


def remember_plan(desired: DesiredState) -> DesiredState:
    """Write down what was planned and chosen, so that a restart plans the same; return it with what failed.

    Raises:
        StateError: The runtime folder cannot be written.
    """
    if desired.chosen is not None:
        remember(desired.paths.runtime, desired.chosen)
    failed = write_plans(desired.paths.state, desired.to_remember)
    return replace(desired, warnings=(*desired.warnings, failed)) if failed else desired


def _lasting(made: Made) -> Iterator[str]:
    """Yield the notes on a plan that hold whatever replicas do: cold ones are named by `status`."""
    cold = tuple(f"{one.name} " for one in made.plans.cold)
    yield from (warning for warning in made.plans.notes if not (cold and warning.startswith(cold)))


def _warnings(*, insecure: bool) -> list[str]:
    found = []
    if insecure:
        found.append("other machines may use this relayd without a key (--insecure-bind)")
    if SYSTEM_ENGINE_FILE.exists():
        found.append(f"llama-server also reads {SYSTEM_ENGINE_FILE}, which relayd cannot switch off")
    return found

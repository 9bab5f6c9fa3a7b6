"""How a plan is made (the one function for serve, reload, `relayd plan` and what plans beside them)."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from relayd.advice.measured import calibrated
from relayd.config import Config, Loaded
from relayd.desired.arguments import ServeArguments
from relayd.desired.away import away_models
from relayd.desired.checked import check_models
from relayd.desired.disk import models_on_disk, names_of_file, servable_model
from relayd.desired.display import Display
from relayd.desired.judged import judge
from relayd.desired.lines import NEEDED_FLAGS
from relayd.desired.machine import machine_at
from relayd.desired.overrides import with_overrides
from relayd.desired.picked import models_to_serve, offered, on_demand, still_running
from relayd.desired.plans import ModelPlanner, ModelPlans
from relayd.desired.remembered import read_plans
from relayd.desired.running import running_replicas
from relayd.desired.selection import chosen, overridden
from relayd.desired.site import Site
from relayd.engine import Engine, Features
from relayd.engine.memory import MemoryProbe
from relayd.folders import Paths
from relayd.gguf import find_companions
from relayd.hardware import Machine
from relayd.models.skipped import Skipped, warning_of
from relayd.planner.budget import Budget
from relayd.planner.reserve import allowance
from relayd.store import remembered_runs

NO_ENGINE = Engine(
    Path("llama-server"),
    "path",
    Features("not installed", None, frozenset(NEEDED_FLAGS), {}, unix_sockets=True),
)
"""Stands for an engine where none is installed, as far as a plan depends on one."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which models a command line and a configuration mean together.

    Attributes:
        loaded: The configuration as it was read.
        config: The same with only the models that are meant, and with the overrides of the command line.
        chooses: Whether none is meant, so that relayd chooses among those on disk.
        named: Models that only the command line names.
        typed: Models that the command line names, whether they are configured or not.
        on_demand: Whether those that relayd chooses wait until a client asks for them.
    """

    loaded: Loaded
    config: Config
    chooses: bool
    named: frozenset[str] = frozenset()
    typed: frozenset[str] = frozenset()
    on_demand: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """A plan with the configuration that it is the plan of, and what to know of both.

    Attributes:
        config: With only the models that are meant.
        plans: What becomes of them.
        planner: What has made the plan.
        standing: What to know of the configuration, a sentence each, whatever the plan.
    """

    config: Config
    plans: ModelPlans
    planner: ModelPlanner
    standing: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know of configuration and plan, a sentence each."""
        return (*self.standing, *self.plans.notes)

    def anew(self, *, asked: bool) -> ModelPlans:
        """Return what a plan without regard to earlier ones, and to what runs, would be.

        Args:
            asked: Whether the engine is asked about it.
        """
        away = self.planner.away  # what cannot be started again is as it is
        alone = replace(
            self.planner,
            remembered={
                name: one for name, one in self.planner.remembered.items() if name in away or one.sizes
            },
            running=tuple(name for name in self.planner.running if name in away),
            first=(),
        )
        return (alone if asked else replace(alone, probe=None)).plans(self.config)


def select(arguments: ServeArguments, site: Site, display: Display) -> Selection:
    """Read the configuration, and return which models are meant.

    Raises:
        ConfigError: It is wrong.
        UsageError: A target is not a model.
    """
    loaded = site.load(arguments.config)
    find = partial(servable_model, site=site, folders=loaded.config.models.folders, display=display)
    wanted = chosen(
        loaded.config,
        arguments.targets,
        find,
        demo=arguments.demo,
        name_file=partial(names_of_file, site=site),
    )
    wanted = overridden(
        wanted,
        listen=arguments.listen,
        engine=arguments.llama_server,
        log_level=arguments.log_level,
        hub=arguments.hub,
        bus=arguments.bus,
        bus_credentials=arguments.bus_credentials,
    )
    configured = {one.name for one in loaded.config.model}
    named = frozenset(one.name for one in wanted.model if one.name not in configured)
    typed = frozenset(one.name for one in wanted.model if arguments.targets or arguments.demo)
    wanted = with_overrides(wanted, arguments.overrides, typed)
    chooses = not wanted.model and not wanted.upstream
    return Selection(loaded, wanted, chooses, named, typed, arguments.on_demand)


def plan_at(
    selected: Selection,
    site: Site,
    engine: Engine | None,
    paths: Paths,
    *,
    simulated: Machine | None = None,
    fresh: bool = False,
    anew: Collection[str] = (),
    given_up: Collection[str] = (),
) -> Made:
    """Return the plan of the models that are meant. Nothing is written.

    Args:
        selected: The models.
        site: Where they run.
        engine: The engine that runs them; None where none is installed, which only a preview may have.
        paths: The folders of the daemon that serves them, or would.
        simulated: Another machine to plan for.
        fresh: Whether earlier plans, and what runs, are left out of account.
        anew: Models of which they are left out of account, and which come before the others.
        given_up: Models that hold no memory and are not tried again: they take what the others leave.

    Raises:
        ConfigError: An engine flag of a model belongs to relayd.
        ModelFileError: A model that was named cannot be served.
    """
    config, skipped, doubts, chooses = selected.config, list[Skipped](), list[str](), selected.chooses
    machine, plans_for = simulated or machine_at(site, engine), engine or NO_ENGINE
    room = room_at(site, config, machine, simulated=simulated is not None)
    alone = fresh or simulated is not None
    remembered, unread = ({}, "") if simulated is not None else read_plans(paths.state)
    if fresh:  # a model on demand is planned alone: whatever else there is, its sizes are the same
        remembered, unread = {name: one for name, one in remembered.items() if one.sizes}, ""
    if chooses and simulated is None:
        found = models_on_disk(site, config.models.folders, skipped.append)
        running = still_running(paths.runtime)
        picked = models_to_serve(found, room, plans_for.features, running, remembered)
        models = on_demand(picked.models) if selected.on_demand else picked.models
        config = msgspec.structs.replace(config, model=models)
        skipped += picked.skipped
    check_models(config, selected.typed)
    for one in config.model:
        if one.name in selected.named:
            judge(Path(one.file), plans_for.features.build)
            doubts += () if one.projector else find_companions(Path(one.file)).doubts
    up = () if alone else {name.rpartition("#")[0] for name in running_replicas(paths.runtime)}
    away = away_models(config.model)
    placed_anew = {name for name in anew if name not in away}
    remembered = {name: entry for name, entry in remembered.items() if name not in placed_anew}
    up = {name for name in up if name not in placed_anew}
    probe = None if simulated or not engine else MemoryProbe(engine, site.cache / "engine", site.environ)
    planner = ModelPlanner(
        plans_for, machine, room, probe, remembered, up, anew, given_up, simulated is not None, away
    )
    plans, left_out = planner.plans(config), ""
    if chooses:
        config, plans, left_out = offered(config, plans, skipped)
    standing = (*selected.loaded.warnings, left_out, *doubts, warning_of(skipped), unread)
    return Made(config, plans, planner, tuple(filter(None, standing)))


def room_at(site: Site, config: Config, machine: Machine, *, simulated: bool = False) -> Budget:
    """Return what models may take of a machine, with speeds as its benchmarks corrected them."""
    headless = "RUNTIME_DIRECTORY" in site.environ and not simulated
    room = allowance(machine, config.memory, headless=headless)
    return room if simulated else calibrated(room, remembered_runs(site.state))

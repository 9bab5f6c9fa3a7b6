"""What `relayd serve` would start, without starting or writing anything (`relayd plan`)."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from relayd.desired.arguments import ServeArguments
from relayd.desired.cold import NOTABLE, Cold
from relayd.desired.display import Display
from relayd.desired.engines import engine_at
from relayd.desired.make import Made, plan_at, select
from relayd.desired.plans import ModelPlans
from relayd.desired.running import replicas_that_run, running_replicas
from relayd.desired.site import Site
from relayd.endpoint import TcpAddress, UnixAddress
from relayd.engine import Engine, command
from relayd.engine.differences import differences
from relayd.errors import EngineError, UsageError
from relayd.folders import Paths, own_paths
from relayd.hardware import held
from relayd.hardware.bandwidth import catalogued
from relayd.hardware.freed import freed
from relayd.planner import Planned
from relayd.planner.budget import budget
from relayd.planner.document import plan_document
from relayd.planner.ledger import DeviceRow, ledger_of
from relayd.planner.simulate import simulate

NOTHING_GIVEN_UP: Mapping[str, str] = {}

PLANNED_ANEW = (
    "all models planned anew, whatever runs, would be another plan: relayd plan --fresh shows it, and relayd "
    "restart applies it"
)


@dataclass(frozen=True, slots=True)
class Preview:
    """A plan that nothing follows yet.

    Attributes:
        made: The plan.
        engine: The engine it is made for; None where none is installed.
        paths: The folders of the daemon that would serve it.
        ledger: The memory of each device.
    """

    made: Made
    engine: Engine | None
    paths: Paths
    ledger: tuple[DeviceRow, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all replicas that are to be started would be, and fit into what models may take."""
        plans = self.made.plans
        return all(one.cause not in NOTABLE for one in plans.cold) and not plans.fleet.over and not plans.away

    def starts(self) -> tuple[Planned, ...]:
        """Return the replicas that would be started."""
        plans = self.made.plans
        return tuple(one for one in plans.plan if not one.cold and one.model not in plans.away)

    def on_demand(self) -> Iterator[tuple[Planned, Cold]]:
        """Yield the replicas that are not started with the daemon, each with the reason."""
        planned = {one.name: one for one in self.made.plans.plan}
        yield from ((planned[one.name], one) for one in self.made.plans.cold)

    def commands(self) -> dict[str, tuple[str, ...]]:
        """Return the command line of each replica that would be started, by its name.

        Address and key file are made anew at each start; here they stand for those.

        Raises:
            UsageError: No engine is installed.
            EngineError: The engine is too old for a flag.
        """
        if self.engine is None:
            raise UsageError(
                "without an engine its flags are not known", remedy="Run `relayd engine install`."
            )
        config = self.made.config.replicas
        unix, key = UnixAddress(self.paths.runtime / "replica.sock"), self.paths.runtime / "replica.key"
        first = int(config.ports.partition("-")[0])
        return {
            one.name: (
                str(self.engine.path),
                *command(
                    one.spec,
                    self.engine.features,
                    unix if config.listen == "unix" else TcpAddress(first + number),
                    key,
                ),
            )
            for number, one in enumerate(self.starts())
        }

    def document(self) -> dict[str, Any]:
        """Return everything as JSON-ready values; sizes are bytes."""
        plans, document = self.made.plans, plan_document(self.made.plans.fleet)
        for device, row in zip(document["devices"], self.ledger, strict=True):
            device |= {
                "capacity_bytes": row.capacity,
                "weights_bytes": row.weights,
                "measured_bytes": row.measured,
                "others_bytes": row.others,
                "left_bytes": row.free,
            }
        return {
            **document,
            "complete": self.complete,
            "needs": {
                one.name: {"bytes": dict(one.needs), "basis": one.basis.value} for one in self.starts()
            },
            "cold": [one.document() | {"sizes": _sizes(planned)} for planned, one in self.on_demand()],
            "away": [{"model": name, "reason": why} for name, why in plans.away.items()],
            "notes": list(self.made.warnings),
        }


def preview(
    arguments: ServeArguments,
    site: Site,
    display: Display,
    simulated: str = "",
    *,
    fresh: bool = False,
    given_up: Mapping[str, str] = NOTHING_GIVEN_UP,
) -> Preview:
    """Return what `relayd serve` with these arguments would start.

    Args:
        arguments: What would be typed after `relayd serve`.
        site: Where.
        display: Shown to while a model is copied out of a llamafile.
        simulated: Another machine, as `--simulate` describes it; "" is this one.
        fresh: Whether earlier plans, and what runs, are left out of account.
        given_up: Why a running daemon has given up models, by name: they take what the others leave.

    Raises:
        ConfigError: The configuration is wrong.
        UsageError: A target, or the simulated machine, cannot be understood.
        ModelFileError: A model file is missing or damaged.
    """
    selected = select(arguments, site, display)
    own = own_paths(site.environ, site.home, demo=arguments.demo_alone)
    engine: Engine | None
    try:
        engine = engine_at(site, selected.config.engine.path)
    except EngineError:
        engine = None
    machine = catalogued(simulate(simulated)) if simulated else None
    made = plan_at(selected, site, engine, own, simulated=machine, fresh=fresh, given_up=given_up)
    if not fresh and not simulated and _would_be_another(made):
        made = replace(made, standing=(*made.standing, PLANNED_ANEW))
    found = Preview(made, engine, own, _ledger(made, own))
    differing = () if fresh or simulated or not engine else tuple(_differing(found))
    said = tuple(_given_up(made, given_up))
    return replace(found, made=replace(made, standing=(*made.standing, *said, *differing)))


def _given_up(made: Made, reasons: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each model that the daemon has given up, but for want of its file."""
    for name, why in reasons.items():
        if name in {one.name for one in made.config.model} and name not in made.plans.away:
            because = f" ({why})" if why else ""
            yield f"{name} is given up{because} and holds no memory: relayd start {name} tries it again"


def _ledger(made: Made, paths: Paths) -> tuple[DeviceRow, ...]:
    """Return the memory of each device, with what replicas hold that run."""
    machine, pids = made.planner.machine, list[int]()
    if not made.planner.simulated:
        pids = [*running_replicas(paths.runtime).values()]
    measured = Counter[str]()
    for found in filter(None, (held(pid, machine) for pid in pids)):
        measured.update(found.by_device)
    return ledger_of(made.plans.fleet, budget(freed(machine, pids)), measured if pids else None)


def _sizes(planned: Planned) -> list[dict[str, Any]]:
    """Return the sizes that a replica on demand may be loaded in; none where none fits."""
    every = () if planned.refused else (planned, *planned.others)
    return [
        {
            "context": one.spec.context,
            "slots": one.spec.slots,
            "bytes": dict(one.needs),
            "basis": one.basis.value,
        }
        for one in every
    ]


def _differing(preview: Preview) -> Iterator[str]:
    """Yield a sentence for each replica that runs with other flags than planned, and what applies these."""
    planned, commands = {one.name: one for one in preview.starts()}, preview.commands()
    for one in replicas_that_run(preview.paths.runtime):
        if one.replica not in commands or one.reduction:
            continue
        if flags := differences(one.command, commands[one.replica]):
            line = planned[one.replica].line or planned[one.replica].spec
            applies = "relayd restart" if one.line in ("", line.digest) else "relayd reload"
            yield (
                f"{one.replica} runs with other arguments than planned: {', '.join(flags)}; {applies} "
                "applies the plan"
            )


def _would_be_another(made: Made) -> bool:
    """Return whether all models planned anew would run otherwise; the engine is asked last, if at all."""
    now = _runs_as(made.plans)
    return _runs_as(made.anew(asked=False)) != now and _runs_as(made.anew(asked=True)) != now


def _runs_as(plans: ModelPlans) -> list[tuple[object, ...]]:
    """Return what distinguishes a plan for people: where replicas run, and what each holds."""
    return [
        (one.name, one.spec.placement, one.spec.slots, one.spec.context, bool(one.cold)) for one in plans.plan
    ]

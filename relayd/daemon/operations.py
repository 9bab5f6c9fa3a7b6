"""Every verb of a running daemon, and what each answers (operations).

The control socket calls them now, the admin API later: one surface, two ways in.
"""

import asyncio
import os
from collections.abc import Mapping

from relayd.api.control import Verb
from relayd.daemon import loading
from relayd.daemon.admission import NoRoom, shortage, why_down
from relayd.daemon.arguments import (
    ChangeKeyArguments,
    CreateKeyArguments,
    ImportKeyArguments,
    KeyArguments,
    ModelArguments,
    NoArguments,
    ReloadArguments,
    RestartArguments,
    StopArguments,
    TargetArguments,
    UnloadArguments,
    UpgradeArguments,
    UsageArguments,
)
from relayd.daemon.givenreport import ConfigurationReport, GivenArguments
from relayd.daemon.keyoperations import KeyOperations
from relayd.daemon.parts import DaemonParts
from relayd.daemon.reload import Reload
from relayd.daemon.report import (
    PinReport,
    ReloadReport,
    ReplicasReport,
    StatusReport,
    StoppingReport,
    UpgradeReport,
)
from relayd.daemon.restart import Applied, PlannedRestart
from relayd.daemon.shutdown import Shutdown
from relayd.daemon.status import status_report
from relayd.daemon.upgrade import Upgrade
from relayd.desired.away import REMEDY, why_away
from relayd.errors import ModelFileError
from relayd.handover import Predecessor
from relayd.names import ReplicaName
from relayd.rights import KeyCopies
from relayd.supervisor import Replica, State
from relayd.supervisor.state import DOWN, SETTLED

_UNPIN = "Let it make room again: relayd unpin"


class Operations(KeyOperations):
    """The verbs; each raises `RelaydError` to refuse.

    Args:
        parts: Of the daemon.
        reload: Follows the configuration anew.
        restart: Restarts replicas by a new plan.
        upgrade: Puts a new daemon in this one's place.
        shutdown: Ends this one.
        predecessor: The daemon that this one took over from.
    """

    def __init__(
        self,
        parts: DaemonParts,
        reload: Reload,
        restart: PlannedRestart,
        upgrade: Upgrade,
        shutdown: Shutdown,
        predecessor: Predecessor | None = None,
    ) -> None:
        super().__init__(parts.keys)
        self._parts = parts
        self._reload = reload
        self._restart = restart
        self._upgrade = upgrade
        self._shutdown = shutdown
        self._predecessor = predecessor

    def __repr__(self) -> str:
        return f"<Operations on {self._parts.fleet!r}, {self._shutdown!r}>"

    async def status(self, _arguments: NoArguments) -> StatusReport:
        """Return the daemon, its models and every replica."""
        return await status_report(self._parts, self._predecessor, stopping=self._shutdown.requested)

    async def configuration(self, _arguments: NoArguments) -> ConfigurationReport:
        """Return what the daemon was given; for the owner's socket only, because it holds the key."""
        desired, doors = self._parts.desired, self._parts.doors
        key, typed, site = self._parts.keys.lend(), desired.arguments, desired.site
        given = GivenArguments(
            targets=typed.targets,
            demo=typed.demo,
            config=str(typed.config or ""),
            llama_server=typed.llama_server or "",
            cwd=str(site.cwd),
            home=str(site.home),
            environ=dict(desired.environ),
            context=typed.overrides.context,
            slots=typed.overrides.slots,
            gpu_layers=typed.overrides.gpu_layers,
            flags=typed.overrides.flags,
            on_demand=typed.on_demand,
            hub=typed.hub,
            bus=typed.bus,
            bus_credentials=str(typed.bus_credentials) if typed.bus_credentials else None,
        )
        certificate = desired.config.server.tls_cert
        return ConfigurationReport(desired.sources, doors.listen, doors.url, key.reveal(), given, certificate)

    async def start(self, arguments: TargetArguments) -> ReplicasReport:
        """Start replicas that are not in memory, and wait until each has come up or failed.

        What did not fit beside the others is started only in memory that those leave which are stopped. A
        model whose files were not there is planned first.

        Raises:
            NotLoadedError: Nothing that is named fits beside what runs.
            ModelFileError: The files of what is named are not there.
        """
        replicas = await self._with_files(arguments.target, self._select(arguments.target))
        await self._parts.grants.freed(one.name for one in replicas)
        refused = self._bring_up(replicas)
        if arguments.target and len(refused) == len(replicas):
            raise refused[0].refusal()
        return await self._came_out(replicas)

    async def stop(self, arguments: StopArguments) -> ReplicasReport | StoppingReport:
        """Stop replicas within the drain timeout, or the daemon with all of them."""
        if arguments.all:
            self._shutdown.request(keep_replicas=False)
            return StoppingReport(os.getpid())
        return await self._bring_down(arguments.target, self._parts.fleet.drain_seconds)

    async def drain(self, arguments: TargetArguments) -> ReplicasReport:
        """Stop replicas after their last request, without a timeout."""
        return await self._bring_down(arguments.target, None)

    async def restart(self, arguments: RestartArguments) -> ReplicasReport:
        """Stop replicas and start them again, by a new plan where whole models are restarted.

        What is cold stays so unless the new plan has a place for it, or it alone is named. One replica that
        is named keeps its plan: the replicas of a model are alike. What runs and could not be started again,
        as a file of it is not there, runs on.

        Raises:
            NotLoadedError: The replica that is named does not fit beside what runs.
        """
        self._shutdown.check_staying()
        replicas, applied = self._select(arguments.target), Applied({})
        if not _is_replica(arguments.target):
            applied = await self._restart.plan(_planned_first(replicas, named=bool(arguments.target)))
        elif replicas[0].state is State.COLD:
            return await self.start(TargetArguments(arguments.target))
        without_files = await _without_files(replicas)
        able = [
            one
            for one in replicas
            if one.state is not State.COLD
            and one not in applied.unloaded
            and one.name not in without_files
            and not shortage(self._parts, one)
        ]
        states = await self._restart.run(able, applied, rolling=arguments.rolling)
        left = await self._came_out([one for one in replicas if one.name not in states])
        came_out = {name: state.value for name, state in states.items()} | left.replicas
        down = {one.name: why for one in applied.unloaded if (why := why_down(self._parts, one))}
        changed = {name: list(applied.changed.get(name, ())) for name in came_out}
        return ReplicasReport(
            came_out,
            left.not_started | down | without_files,
            {name: how for name, how in changed.items() if how},
            applied.note,
        )

    async def load(self, arguments: ModelArguments) -> ReplicasReport:
        """Bring a model into memory, others giving way as for a request, and wait until it has come up.

        Raises:
            NotLoadedError: It cannot be loaded.
            ModelFileError: Its files are not there.
        """
        replicas = await self._with_files(arguments.model, self._select(arguments.model))
        await self._parts.grants.freed(one.name for one in replicas)
        await loading.load(replicas, self._parts.actor.post)
        return await self._came_out(replicas)

    async def unload(self, arguments: UnloadArguments) -> ReplicasReport:
        """Take a model or a replica out of memory after its requests; a request brings it back."""
        self._shutdown.check_staying()
        replicas = self._select(arguments.target)
        await loading.unload(replicas, self._parts.actor.post, force=arguments.force)
        pinned = {one.spec.model for one in replicas if self._parts.residence.is_pinned(one.wanted)}
        notes = [f"{one} is still pinned: it stays once it is loaded again. {_UNPIN} {one}" for one in pinned]
        return ReplicasReport({one.name: one.state.value for one in replicas}, note="; ".join(notes))

    async def pin(self, arguments: ModelArguments) -> PinReport:
        """Keep a model in memory once it is loaded, whatever else needs memory, also over daemons."""
        return await self._pin(arguments.model, pinned=True)

    async def unpin(self, arguments: ModelArguments) -> PinReport:
        """Let a model make room for others again."""
        return await self._pin(arguments.model, pinned=False)

    async def reload(self, arguments: ReloadArguments) -> ReloadReport:
        """Follow the configuration as it is now, or return what that would change."""
        return await (self._reload.preview() if arguments.dry_run else self._reload.run())

    async def upgrade(self, arguments: UpgradeArguments) -> UpgradeReport:
        """Put the build that is installed now in this daemon's place."""
        return await self._upgrade.run(arguments.drain_seconds)

    async def _with_files(self, target: str | None, replicas: list[Replica]) -> list[Replica]:
        """Plan what is down and had no files before they can be started.

        Raises:
            ModelFileError: The files of what is named are not there.
        """
        self._shutdown.check_staying()
        down = {one.spec.model for one in replicas if one.state in DOWN}
        if away := down & self._parts.desired.away.keys():
            await self._restart.plan(away)
            if target and (still := self._parts.desired.away.get(*away)):
                raise ModelFileError(f"{target} is not started: {still}", remedy=REMEDY)
        return replicas

    async def _pin(self, target: str, *, pinned: bool) -> PinReport:
        self._shutdown.check_staying()
        replicas = self._select(target)
        model = replicas[0].spec.model
        await self._parts.residence.pin(model, pinned=pinned)
        return PinReport(model, pinned, {one.name: one.state.value for one in self._select(model)})

    def _bring_up(self, replicas: list[Replica]) -> list[NoRoom]:
        """Start replicas, first those that were planned beside the others; return what is too small."""
        able, refused = list[Replica](), list[NoRoom]()
        for replica in sorted(replicas, key=lambda one: bool(one.wanted.cold)):
            if short := shortage(self._parts, replica):
                refused.append(short)
            else:
                able.append(replica)
        loading.bring_up(able, self._parts.actor.post)
        return refused

    async def _came_out(self, replicas: list[Replica]) -> ReplicasReport:
        """Wait until nothing of replicas is under way, and return how each came out."""
        states = {one.name: (await one.reached(*SETTLED)).value for one in replicas}
        return ReplicasReport(
            states, {one.name: why for one in replicas if (why := why_down(self._parts, one))}
        )

    async def _bring_down(self, target: str | None, drain_timeout: float | None) -> ReplicasReport:
        replicas = self._select(target)
        await self._parts.fleet.stop(replicas, drain_timeout)
        return ReplicasReport({replica.spec.name: replica.state.value for replica in replicas})

    def _select(self, target: str | None) -> list[Replica]:
        return self._parts.fleet.select(target and self._parts.view.named(target))


def _planned_first(replicas: list[Replica], *, named: bool) -> set[str]:
    """Return the models that a restart plans: a stopped one takes what others leave, unless it is named."""
    return {one.spec.model for one in replicas if named or one.state is not State.STOPPED}


async def _without_files(replicas: list[Replica]) -> dict[str, str]:
    """Return why replicas that run could not be started again for want of a file, by name."""

    def look() -> dict[str, str]:
        found = {one: why_away(one) for one in dict.fromkeys(specs.values())}
        return {name: found[spec] for name, spec in specs.items() if found[spec]}

    specs = {one.name: one.wanted.spec for one in replicas if one.state not in DOWN}
    return await asyncio.to_thread(look)


def _is_replica(target: str | None) -> bool:
    """Return whether one replica is named, not a model or all."""
    return target is not None and ReplicaName.parse(target).index is not None


def verbs(operations: Operations) -> Mapping[tuple[str, str], Verb]:
    """Return every verb by method and name: a closed set."""
    return {
        ("GET", "status"): Verb(NoArguments, operations.status),
        ("GET", "configuration"): Verb(NoArguments, operations.configuration),
        ("POST", "start"): Verb(TargetArguments, operations.start),
        ("POST", "stop"): Verb(StopArguments, operations.stop),
        ("POST", "drain"): Verb(TargetArguments, operations.drain),
        ("POST", "restart"): Verb(RestartArguments, operations.restart),
        ("POST", "load"): Verb(ModelArguments, operations.load),
        ("POST", "unload"): Verb(UnloadArguments, operations.unload),
        ("POST", "pin"): Verb(ModelArguments, operations.pin),
        ("POST", "unpin"): Verb(ModelArguments, operations.unpin),
        ("POST", "reload"): Verb(ReloadArguments, operations.reload),
        ("POST", "upgrade"): Verb(UpgradeArguments, operations.upgrade),
        ("GET", "keys"): Verb(NoArguments, operations.keys),
        ("POST", "create_key"): Verb(CreateKeyArguments, operations.create_key),
        ("POST", "import_key"): Verb(ImportKeyArguments, operations.import_key),
        ("POST", "rotate_key"): Verb(KeyArguments, operations.rotate_key),
        ("POST", "change_key"): Verb(ChangeKeyArguments, operations.change_key),
        ("POST", "revoke_key"): Verb(KeyArguments, operations.revoke_key),
        ("GET", "copy_keys"): Verb(KeyArguments, operations.copy_keys),
        ("POST", "take_keys"): Verb(KeyCopies, operations.take_keys),
        ("GET", "usage"): Verb(UsageArguments, operations.usage),
    }

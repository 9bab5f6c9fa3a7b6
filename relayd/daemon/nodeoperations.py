"""The verbs for nodes, and those of replicas where they are meant for a node (`MODEL@NODE`)."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from relayd.api.control import Feed, Verb
from relayd.daemon.administration import Administration
from relayd.daemon.adminreport import LogLineReport, NodeLogReport
from relayd.daemon.arguments import (
    BringFileArguments,
    HubArguments,
    JoinArguments,
    LogArguments,
    ModelArguments,
    NameArguments,
    NoArguments,
    NodeArguments,
    NodePullArguments,
    StopArguments,
    TargetArguments,
    UnloadArguments,
)
from relayd.daemon.commandruns import CommandRuns
from relayd.daemon.livereport import PullReport, PullsReport
from relayd.daemon.machines import MachineReporter, Machines
from relayd.daemon.nodefacts import Commands, last_lines
from relayd.daemon.nodereport import BroughtReport, InviteReport, NodesReport, TokenReport
from relayd.daemon.operations import Operations
from relayd.daemon.parts import DaemonParts
from relayd.daemon.power import wake
from relayd.daemon.report import ReplicasReport
from relayd.daemon.sharedfiles import FileBringer, FilesForOthers
from relayd.daemon.upstreamtest import UpstreamTest
from relayd.errors import DaemonError, UsageError
from relayd.models.ondisk import Found
from relayd.models.skipped import passed_over
from relayd.models.stores import places_of, scan
from relayd.planner.stated import MachinesReport
from relayd.remote.blocks import Throttle
from relayd.remote.filerelay import FileRelay
from relayd.remote.messages import NodeCommand, NodeReply
from relayd.store.hubs import JoinedHub
from relayd.units import mib

Arguments = TypeVar("Arguments", bound=msgspec.Struct)


class NodeOperations:
    """The verbs for nodes; each raises `RelaydError` to refuse.

    Attributes:
        parts: Of the daemon.
        machines: What this machine and its nodes are.
        shared: Files of this machine that others may have.
        relay: Passes files from machine to machine.
    """

    def __init__(self, parts: DaemonParts) -> None:
        self.parts = parts
        self.machines = Machines(parts)
        self.shared = FilesForOthers(self._models_on_disk, self._has_others)
        rate = lambda: float(mib(parts.desired.config.hub.file_mib_s))  # noqa: E731 - it may change
        self.relay = FileRelay(parts.nodes.hub, self.shared.read, Throttle(parts.clock, rate))
        self._bringer = FileBringer(parts.membership.blocks, parts.clock)

    def __repr__(self) -> str:
        return f"<NodeOperations on {self.parts.nodes!r}>"

    async def nodes(self, _arguments: NoArguments) -> NodesReport:
        """Return the nodes of this hub, and the hubs that this machine is a node of."""
        return self.parts.nodes.report(self.parts.membership.report())

    async def fleet(self, _arguments: NoArguments) -> MachinesReport:
        """Return what this machine and every node is, has and serves, to plan with."""
        return await self.machines.report()

    async def invite(self, arguments: NodeArguments) -> InviteReport:
        """Return an invite for a node, which counts once and for 15 minutes."""
        return self.parts.nodes.invite(arguments.node)

    async def token(self, arguments: NodeArguments) -> TokenReport:
        """Return a token for a node, which lasts until the node is removed."""
        return await self.parts.nodes.token(arguments.node)

    async def remove(self, arguments: NodeArguments) -> NodesReport:
        """Take a node's token back, and cut it off."""
        return await self.parts.nodes.remove(arguments.node)

    async def drain(self, arguments: NodeArguments) -> NodesReport:
        """Give a node no new requests; those that run are finished."""
        return self.parts.nodes.drain(arguments.node, drained=True)

    async def undrain(self, arguments: NodeArguments) -> NodesReport:
        """Give a node requests again."""
        return self.parts.nodes.drain(arguments.node, drained=False)

    async def join(self, arguments: JoinArguments) -> NodesReport:
        """Be a node of a hub from now on."""
        made = JoinedHub(arguments.url, arguments.token, arguments.node, arguments.provider)
        await self.parts.membership.join(made)
        return await self.nodes(NoArguments())

    async def leave(self, arguments: HubArguments) -> NodesReport:
        """Leave a hub."""
        await self.parts.membership.leave(arguments.url)
        return await self.nodes(NoArguments())

    async def logs(self, arguments: LogArguments) -> NodeLogReport:
        """Return the last lines of the log of a node's model or replica, `MODEL@NODE`."""
        target, node = split(arguments.target or "")
        reply = await self.parts.nodes.hub.command(node, "logs", target, arguments.lines)
        return NodeLogReport(answer_of(reply, tuple[LogLineReport, ...]))

    async def wake(self, arguments: NodeArguments) -> NodesReport:
        """Wake a node, and return when it is connected."""
        parts, name = self.parts, arguments.node
        sessions = parts.nodes.hub
        await wake(
            name,
            parts.desired.config.power,
            lambda: any(one.name == name and one.channel is not None for one in sessions),
            parts.clock,
        )
        return await self.nodes(NoArguments())

    async def pull(self, arguments: NodePullArguments) -> PullReport:
        """Have a node fetch a model to its disk, and return how far that is."""
        reply = await self.parts.nodes.hub.command(
            arguments.node, _PULL_STEPS[arguments.step], arguments.model
        )
        found = answer_of(reply, PullsReport).pulls
        return next((one for one in found if one.model == arguments.model), PullReport(arguments.model))

    async def bring_file(self, arguments: BringFileArguments) -> BroughtReport:
        """Go on for a while with a file that another machine has."""
        part = Path(arguments.part)
        return BroughtReport(await self._bringer.bring(arguments.sha256, arguments.bytes, part))

    def _models_on_disk(self) -> list[Found]:
        site, folders = self.parts.desired.site, self.parts.desired.config.models.folders
        return scan(places_of(site.environ, site.home, site.data, folders), passed_over)

    def _has_others(self) -> bool:
        return self.parts.nodes.door is not None or bool(self.parts.membership.report())

    async def log_lines(self, arguments: LogArguments) -> AsyncGenerator[LogLineReport]:
        """Return what yields the lines of `logs`, and ends then."""
        found = (await self.logs(arguments)).lines

        async def lines() -> AsyncGenerator[LogLineReport]:
            for line in found:
                yield line

        return lines()

    def elsewhere(self, target: str | None) -> bool:
        """Return whether a target is of a node of this hub."""
        node = split(target or "")[1]
        return bool(node) and any(session.name == node for session in self.parts.nodes.hub)

    def is_node(self, target: str | None) -> bool:
        """Return whether a target is a node as a whole, and no model here is called so."""
        parts = self.parts
        names = {name for model in parts.desired.config.model for name in (model.name, *model.aliases)}
        return target not in names and any(one.name == target for one in parts.nodes.report().nodes)

    def set_drained(self, node: str, *, drained: bool) -> ReplicasReport:
        """Give a node no new requests, or give it some again, and return how its replicas stand here."""
        report = self.parts.nodes.drain(node, drained=drained)
        found = next(one for one in report.nodes if one.name == node)
        return ReplicasReport({one.name: one.state for one in found.replicas})

    async def command(self, verb: str, target: str) -> ReplicasReport:
        """Have a node carry out a verb on what is `MODEL@NODE` here."""
        named, node = split(target)
        reply = await self.parts.nodes.hub.command(node, verb, named)
        report = answer_of(reply, ReplicasReport)

        def here(found: dict[str, str]) -> dict[str, str]:
            return {f"{name}@{node}": value for name, value in found.items()}

        return replace(report, replicas=here(report.replicas), not_started=here(report.not_started))


_PULL_STEPS = {"begin": "pull", "look": "pulls", "end": "end_pull"}

Answer = TypeVar("Answer")


def answer_of(reply: NodeReply, kind: type[Answer]) -> Answer:
    """Return what a node has answered.

    Raises:
        DaemonError: It could not do it, or answers in another form.
    """
    if reply.code:
        raise DaemonError(f"the node answers: {reply.message}")
    try:
        return msgspec.json.decode(reply.result, type=kind)
    except msgspec.DecodeError as error:
        raise DaemonError(f"the node answers in another form: {error}") from error


def split(target: str) -> tuple[str, str]:
    """Return what a target is called at its node, and the node; empty for this machine."""
    name, _, node = target.partition("@")
    return name, node


def commands(
    operations: Operations, administration: Administration, runs: CommandRuns, reporter: MachineReporter
) -> Commands:
    """Return what a hub may have this machine do, by verb."""

    async def machine(_command: NodeCommand) -> object:
        return await reporter.report()

    async def load(command: NodeCommand) -> object:
        return await operations.load(ModelArguments(_named(command)))

    async def unload(command: NodeCommand) -> object:
        return await operations.unload(UnloadArguments(_named(command)))

    async def start(command: NodeCommand) -> object:
        return await operations.start(TargetArguments(_named(command)))

    async def stop(command: NodeCommand) -> object:
        return await operations.stop(StopArguments(_named(command)))

    async def drain(command: NodeCommand) -> object:
        return await operations.drain(TargetArguments(_named(command)))

    async def logs(command: NodeCommand) -> object:
        feed = await administration.logs(LogArguments(_named(command), min(command.lines, 1000)))
        return await last_lines(feed)

    async def pull(command: NodeCommand) -> object:
        return await runs.pull(ModelArguments(_named(command)))

    async def pulls(_command: NodeCommand) -> object:
        return runs.pulls()

    async def end_pull(command: NodeCommand) -> object:
        return runs.end_pull(_named(command))

    return {
        "load": load, "unload": unload, "start": start, "stop": stop, "drain": drain, "logs": logs,
        "pull": pull, "pulls": pulls, "end_pull": end_pull, "machine": machine,
    }  # fmt: skip


def _named(command: NodeCommand) -> str:
    """Return what a command is for.

    Raises:
        UsageError: It names nothing: a hub does not command a machine as a whole.
    """
    if not command.target:
        raise UsageError("a hub's command names a model or a replica")
    return command.target


def node_verbs(
    nodes: NodeOperations, verbs: Mapping[tuple[str, str], Verb]
) -> Mapping[tuple[str, str], Verb]:
    """Return every verb, those for nodes too; the ones for replicas take `MODEL@NODE`."""

    def routed(name: str, member: str) -> Verb:
        verb = verbs["POST", name]
        return Verb(verb.arguments, _routed(nodes, name, member, verb.run))

    members = {"load": "model", "unload": "target", "start": "target", "stop": "target", "drain": "target"}
    return {
        **verbs,
        **{("POST", name): routed(name, member) for name, member in members.items()},
        ("GET", "nodes"): Verb(NoArguments, nodes.nodes),
        ("GET", "fleet"): Verb(NoArguments, nodes.fleet),
        ("POST", "invite_node"): Verb(NodeArguments, nodes.invite),
        ("POST", "node_token"): Verb(NodeArguments, nodes.token),
        ("POST", "remove_node"): Verb(NodeArguments, nodes.remove),
        ("POST", "drain_node"): Verb(NodeArguments, nodes.drain),
        ("POST", "undrain_node"): Verb(NodeArguments, nodes.undrain),
        ("POST", "wake_node"): Verb(NodeArguments, nodes.wake),
        ("POST", "join_hub"): Verb(JoinArguments, nodes.join),
        ("POST", "leave_hub"): Verb(HubArguments, nodes.leave),
        ("POST", "test_upstream"): Verb(NameArguments, UpstreamTest(nodes.parts).test),
        ("POST", "bring_file"): Verb(BringFileArguments, nodes.bring_file),
        ("GET", "node_logs"): Verb(LogArguments, nodes.logs),
        ("POST", "node_pull"): Verb(NodePullArguments, nodes.pull),
    }


_OF_WHOLE_NODES: Mapping[str, bool] = {"drain": True, "start": False}
"""Verbs that take a node as a whole → whether it is drained then."""


def _routed(
    nodes: NodeOperations, verb: str, member: str, here: Callable[[Arguments], Awaitable[object]]
) -> Callable[[Arguments], Awaitable[object]]:
    """Return what carries out a verb at a node where that is meant, else here."""

    async def run(arguments: Arguments) -> object:
        target = getattr(arguments, member)
        if nodes.elsewhere(target):
            return await nodes.command(verb, target)
        if verb in _OF_WHOLE_NODES and nodes.is_node(target):
            return nodes.set_drained(target, drained=_OF_WHOLE_NODES[verb])
        return await here(arguments)

    return run


def offered_to_admins(
    offered: Mapping[str, Verb | Feed], verbs: Mapping[tuple[str, str], Verb], nodes: NodeOperations
) -> Mapping[str, Verb | Feed]:
    """Return what administrators have over TCP, with the verbs for nodes; no lasting token is among them."""
    here = offered["logs"]

    async def logs(arguments: LogArguments) -> AsyncGenerator[msgspec.Struct]:
        run = nodes.log_lines if nodes.elsewhere(arguments.target) else here.run
        found = await run(arguments)
        assert isinstance(found, AsyncGenerator)  # noqa: S101 - for the type checker
        return found

    names = ("load", "unload", "start", "drain", "nodes", "fleet", "invite_node", "remove_node", "drain_node",
             "undrain_node")  # fmt: skip
    own = {name: verb for (_, name), verb in verbs.items() if name in names}
    return {**offered, **own, "logs": Feed(LogArguments, logs)}

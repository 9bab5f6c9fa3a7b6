"""What is this machine, as placement over machines sees it, and what are all machines of the hub?"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from relayd.daemon.done import speeds_of_nodes
from relayd.desired.advisers import measured_budget
from relayd.desired.disk import models_on_disk
from relayd.errors import ModelFileError
from relayd.gguf import read_model
from relayd.gguf.packed import pack_header
from relayd.planner import Planned
from relayd.planner.stated import MachineReport, MachinesReport, PlacedModel, StatedFile
from relayd.remote.hub import NodeSession
from relayd.units import mib

if TYPE_CHECKING:
    from relayd.daemon.parts import DaemonParts

HERE = "this machine"
"""What the hub's own machine is called among those of its fleet."""

_MOST_FILES = 500
_REPLY_BYTES = 200_000
"""Of a report: a document of a link holds 256 KiB."""


class MachineReporter:
    """Reports this machine; headers are read once a file.

    Args:
        parts: Of the daemon.
    """

    def __init__(self, parts: "DaemonParts") -> None:
        self._parts = parts
        self._headers: dict[tuple[Path, int, int], tuple[str, int]] = {}

    def __repr__(self) -> str:
        return f"<MachineReporter headers={len(self._headers)}>"

    async def report(self) -> MachineReport:
        """Return this machine."""
        return await asyncio.to_thread(self._report)

    def _report(self) -> MachineReport:
        """Return this machine. Blocks: it reads folders, and headers of files."""
        desired = self._parts.desired
        if desired.budget is None:
            return MachineReport(HERE, reason="nothing is planned there: it serves no model of its own")
        budget = measured_budget(desired.budget, desired.paths.state)
        found = models_on_disk(desired.site, desired.config.models.folders)
        files = tuple(
            StatedFile(one.name, one.model, one.quant, one.bytes, dict(one.digests).get(one.files[0], ""))
            for one in found[:_MOST_FILES]
        )
        report = MachineReport(
            HERE,
            budget=msgspec.Raw(msgspec.json.encode(budget)),
            models=tuple(self._models(desired.plan)),
            files=files,
            engine_build=desired.engine.build or 0,
        )
        return report if len(msgspec.json.encode(report)) <= _REPLY_BYTES else _shortened(report)

    def _models(self, plan: Iterable[Planned]) -> Iterator[PlacedModel]:
        by_model: dict[str, list[Planned]] = {}
        for planned in plan:
            by_model.setdefault(planned.model, []).append(planned)
        for name, replicas in by_model.items():
            first, spec = replicas[0], replicas[0].spec
            header, size = self._header(spec.file)
            yield PlacedModel(
                name,
                header,
                size,
                replicas=sum(not one.cold for one in replicas),
                context=spec.context,
                slots=spec.slots,
                embeddings=spec.embeddings,
                needs=dict(first.needs),
            )

    def _header(self, path: Path) -> tuple[str, int]:
        """Return a file's header, and its size with all parts; nothing where it cannot be read."""
        try:
            found = path.stat()
            key = path, found.st_size, found.st_mtime_ns
            if key not in self._headers:
                metadata = read_model(path)
                self._headers[key] = pack_header(metadata), int(metadata.file_bytes)
        except (OSError, ModelFileError):
            return "", 0
        return self._headers[key]


def _shortened(report: MachineReport) -> MachineReport:
    """Return a report that fits into one document: without headers, which a hub may have itself."""
    models = tuple(replace(one, header="") for one in report.models)
    short = replace(report, models=models)
    while len(msgspec.json.encode(short)) > _REPLY_BYTES and short.files:
        short = replace(short, files=short.files[: len(short.files) // 2])
    return short


class Machines:
    """Every machine of a hub; what a node stated last is kept while it is away.

    Args:
        parts: Of the daemon.
    """

    def __init__(self, parts: "DaemonParts") -> None:
        self._parts = parts
        self.reporter = MachineReporter(parts)
        self._last: dict[str, MachineReport] = {}

    def __repr__(self) -> str:
        return f"<Machines known={len(self._last)}>"

    async def report(self) -> MachinesReport:
        """Return this machine, then every node."""
        parts = self._parts
        speeds = speeds_of_nodes(parts.doors.exchanges.recent())
        sessions = [one for one in parts.nodes.hub if one.channel is not None]
        own, *theirs = await asyncio.gather(self.reporter.report(), *map(self._ask, sessions))
        for one in theirs:
            self._last[one.name] = one
        states = {one.name: one.state for one in parts.nodes.report().nodes}
        nodes = (
            replace(self._last[name], state=state)
            if name in self._last
            else MachineReport(name, state, reason="it has not been connected since this hub started")
            for name, state in states.items()
        )
        machines = tuple(_with_speeds(one, speeds) for one in (own, *nodes))
        return MachinesReport(machines, mib(parts.desired.config.hub.file_mib_s))

    async def _ask(self, session: NodeSession) -> MachineReport:
        reply = await session.replies.ask(session.link, "machine", "")
        try:
            if reply.code:
                return MachineReport(session.name, reason=f"it does not report itself: {reply.message}")
            found = msgspec.json.decode(reply.result, type=MachineReport)
        except msgspec.DecodeError as error:
            return MachineReport(session.name, reason=f"it reports itself in another form: {error}")
        return replace(found, name=session.name)


def _with_speeds(machine: MachineReport, speeds: Mapping[tuple[str, str], float]) -> MachineReport:
    node = "" if machine.name == HERE else machine.name
    models = (replace(one, tokens_per_second=speeds.get((node, one.model), 0.0)) for one in machine.models)
    return replace(machine, models=tuple(models))

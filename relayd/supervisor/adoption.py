"""Adoption: whether what an earlier daemon left running is still what is wanted.

A process is adopted by the model's line that it was made of, with the placement and the reductions that it
has: a plan that came out otherwise, or a size that did not fit, does not load a model again. Records of
builds that did not write the line are compared by the spec's digest, or by the command line itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from relayd.endpoint import LocalAddress, TcpAddress, UnixAddress
from relayd.engine.commandline import same_process
from relayd.errors import RelaydError
from relayd.planner import Basis, Planned, ReplicaSpec
from relayd.planner.plan import from_document
from relayd.store import Record
from relayd.supervisor.child import Child, Files
from relayd.supervisor.sizing import Reduction, line_of
from relayd.units import Bytes

SLOTS_ONCE = 4
"""What a line without slots had before relayd planned them; its digest does not tell the two apart."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A process that an earlier daemon started.

    Attributes:
        child: The process.
        planned: What it runs, and what that needs.
        reduction: What it was made smaller by, if it was.
    """

    child: Child
    planned: Planned
    reduction: Reduction | None = None


def identity(spec: ReplicaSpec, engine: str) -> str:
    """Return how a record names the spec and the engine that a process was started from."""
    return f"{spec.digest} {engine}"


def address_of(record: Record, files: Files) -> LocalAddress:
    """Return where the process of a record listens."""
    return TcpAddress(record.port, record.host) if record.port else UnixAddress(files.socket)


def running_plan(
    record: Record, planned: Planned, engine: str, command: Callable[[ReplicaSpec], tuple[str, ...]]
) -> tuple[Planned, Reduction | None] | None:
    """Return what the process of a record runs, and its reduction, if that is what is wanted; else None.

    Args:
        record: What is remembered of the process.
        planned: What is wanted.
        engine: Names the binary; a process of another one is not wanted.
        command: Builds the argv that a spec would be started with at the address of the record.
    """
    if record.identity.partition(" ")[2] != engine:
        return None
    if record.line:
        return _of_line(record, planned)
    for spec in _asked(planned):
        if record.identity == identity(spec, engine) or _starts(command, spec, record.command):
            return Planned(spec, line=planned.line), None
    return None


def _asked(planned: Planned) -> tuple[ReplicaSpec, ...]:
    """Return the specs that a build without plans may have made of the same line.

    It left the size to the engine unless the line fixed it, and shared threads out among replicas.
    """
    line = planned.line or planned.spec
    line = replace(line, slots=line.slots or SLOTS_ONCE)
    threads = planned.spec.threads
    asked = (
        replace(line, threads=count, fit=fit) for count in (line.threads, threads) for fit in (True, False)
    )
    return tuple(dict.fromkeys((planned.spec, *asked)))


def _of_line(record: Record, planned: Planned) -> tuple[Planned, Reduction | None] | None:
    if record.line != line_of(planned):
        return None
    try:
        spec = from_document(record.spec, ReplicaSpec)
        reduction = from_document(record.reduction, Reduction) if record.reduction else None
        running = Planned(spec, from_document(record.needs, dict[str, Bytes]), _basis(record), planned.line)
    except msgspec.ValidationError:  # a later version's
        return None
    fixed = (planned.line or planned.spec).slots
    if fixed and not reduction and spec.slots != fixed:
        return None
    return running, reduction


def _basis(record: Record) -> Basis:
    """Return how the bytes of a record are known; one that a later version has added is not known here."""
    return Basis(record.basis) if record.basis in {*Basis} else Basis.UNKNOWN


def _starts(
    command: Callable[[ReplicaSpec], tuple[str, ...]], spec: ReplicaSpec, running: tuple[str, ...]
) -> bool:
    try:
        return same_process(command(spec), running)
    except RelaydError:  # what cannot be started does not run
        return False

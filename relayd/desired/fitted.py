"""What a model that the engine fits by itself is predicted to need (`fit = "engine"`)."""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from relayd.desired.lines import EngineLine, line_spec
from relayd.endpoint import TcpAddress
from relayd.engine import Engine, command
from relayd.engine.commandline import setup_of
from relayd.errors import RelaydError
from relayd.memory.setup import Gpu
from relayd.memory.weights import CPU
from relayd.planner import ReplicaSpec
from relayd.planner.budget import Budget
from relayd.planner.fit import placed
from relayd.planner.placement import Placement
from relayd.planner.plan import Basis
from relayd.units import Bytes

_ANY_ADDRESS, _ANY_KEY = TcpAddress(8100), Path("key")
"""They decide nothing that is asked here."""


@dataclass(frozen=True, slots=True)
class EngineFitted:
    """One model whose size its engine decides at the start.

    Attributes:
        line: Its line.
        spec: Its first replica.
        needs: Device → bytes, as if the engine made it no smaller.
        basis: How these are known.
        placement: How it would run so; None where relayd cannot read its shape.
    """

    line: EngineLine
    spec: ReplicaSpec
    needs: dict[str, Bytes]
    basis: Basis
    placement: Placement | None = None

    def taken_from(self, room: Budget) -> Budget:
        """Return what its replicas leave of a machine, of which they take no more than there is."""
        for index in range(self.line.model.replicas):
            needs = {one.key: min(self.needs.get(one.key, 0), one.usable) for one in room.rooms}
            room = room.minus(needs, f"{self.line.model.name}#{index}")
        return room


def engine_fitted(line: EngineLine, engine: Engine, room: Budget) -> EngineFitted:
    """Return what is known of a model that the engine fits.

    Args:
        line: Its line.
        engine: The engine.
        room: What models may take of the machine.
    """
    spec = replace(line_spec(line.model, 0), fit=True)
    weights = sum(part.stat().st_size for part in [spec.file] if part.exists())
    where = room.gpus[0].key if room.gpus else CPU
    unknown = EngineFitted(line, spec, {where: Bytes(weights)}, Basis.UNKNOWN)
    if line.form is None:
        return unknown
    with contextlib.suppress(RelaydError, ValueError, LookupError):  # the engine reports what is wrong
        flags = command(spec, engine.features, _ANY_ADDRESS, _ANY_KEY)
        gpus = [Gpu(one.key, float(one.total)) for one in room.gpus]
        trained = line.form.build().shape.context_trained
        found = placed(line.form, setup_of(flags, trained, gpus, room.repacked), room)
        return EngineFitted(line, spec, {**found.needs}, Basis.PREDICTED, found)
    return unknown

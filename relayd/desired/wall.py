"""Which limit of memory a replica's process gets, from what its model's files say (memory wall)."""

import os
from dataclasses import dataclass
from pathlib import Path

from relayd.endpoint import TcpAddress
from relayd.engine import Features, command
from relayd.engine.commandline import draft_of, projector_of, setup_of
from relayd.errors import RelaydError
from relayd.gguf import read_metadata
from relayd.memory.predict import Prediction, predict
from relayd.memory.weights import CPU
from relayd.planner import Basis, Planned, ReplicaSpec
from relayd.planner.budget import Budget
from relayd.planner.wall import MemoryWall, memory_wall

_ANY_ADDRESS, _ANY_KEY = TcpAddress(8100), Path("key")
"""They decide nothing that is asked here."""

_UNMAPPED = frozenset({"none", "dio", "--no-mmap", "--direct-io", "-dio"})
"""Arguments after which the weights are not mapped: modes of `--load-mode`, and its older spellings."""


@dataclass(frozen=True, slots=True)
class MemoryWalls:
    """The limits of one engine's processes on one machine.

    Attributes:
        features: What the engine can do.
        room: The machine; None where nothing was planned.
    """

    features: Features
    room: Budget | None

    def __call__(self, planned: Planned) -> MemoryWall:
        """Return the limit of a process; none where honest work could meet it. Blocks.

        Args:
            planned: What is to run.
        """
        if self.room is None:
            return MemoryWall(reason="its memory was not planned")
        if self.room.gpus:
            return MemoryWall(reason="a GPU driver reserves address space")
        spec = planned.spec
        if spec.projector or projector_of(spec.extra_args):
            return MemoryWall(reason="what its projector takes depends on the images")
        try:
            found = _predicted(spec, self.features, self.room)
        except (RelaydError, ValueError, LookupError, OSError):  # the engine's log has the reason
            return MemoryWall(reason="relayd cannot read the shape of its model")
        if found.unknown and planned.basis not in (Basis.CONFIRMED, Basis.MEASURED):
            return MemoryWall(reason="what its model takes is known only roughly")
        return memory_wall(_anonymous(planned, found), slots=spec.slots, cores=os.cpu_count() or 1)


def _anonymous(planned: Planned, found: Prediction) -> int:
    """Return what is planned and is not a mapped file."""
    spec, needs = planned.spec, planned.needs.get("host", 0)
    total = max(found.total(CPU) + found.limit(CPU), needs) + sum(
        one.file.stat().st_size for one in spec.loras
    )
    mapped = _UNMAPPED.isdisjoint(arg.rpartition("=")[2] for arg in spec.extra_args)
    return total - (found.part(CPU, "model") if mapped else 0)


def _predicted(spec: ReplicaSpec, features: Features, room: Budget) -> Prediction:
    model, draft = read_metadata(spec.file), draft_of(spec.extra_args)
    flags = command(spec, features, _ANY_ADDRESS, _ANY_KEY)
    setup = setup_of(flags, model.whole("context_length"), (), room.repacked)
    return predict(model, setup, draft=read_metadata(Path(draft)) if draft else None)

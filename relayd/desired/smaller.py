"""Which smaller plan a replica that did not fit is tried with next, and what that needs, from its files."""

import contextlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

from relayd.advice.known import configured_form
from relayd.desired.judged import judge
from relayd.desired.lines import by_device
from relayd.endpoint import TcpAddress
from relayd.engine import Features, command
from relayd.engine.commandline import draft_of, fixed_by, projector_of, setup_of
from relayd.errors import ModelFileError, RelaydError
from relayd.gguf import read_metadata
from relayd.gguf.companions import is_gguf
from relayd.memory.setup import Gpu
from relayd.models.shelf import size_of
from relayd.planner import Basis, Facts, Planned, ReplicaSpec, Step, step_down
from relayd.planner.budget import Budget
from relayd.planner.placement import Placement
from relayd.planner.timing import placed
from relayd.units import Bytes

_QUANTIZATION = re.compile(r"[-_.](?:ud-)?(?:i?q\d\w*|tq\d\w*|bf16|f16|f32|mxfp4\w*|nvfp4)$")
"""The quantization at the end of a file name."""

_ANY_ADDRESS, _ANY_KEY = TcpAddress(8100), Path("key")
"""They decide nothing that is asked here."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """The out-of-memory ladder of one engine on one machine.

    Attributes:
        features: What the engine can do.
        room: The machine; None where nothing was planned, and no bytes are.
    """

    features: Features
    room: Budget | None

    def __call__(self, planned: Planned, rung: int, *, host: bool) -> Step | None:
        """Return the next plan to try when memory is too small for one; None when nothing is left.

        Args:
            planned: What did not fit.
            rung: Where on the ladder to go on (`planner.smaller`).
            host: Whether it was RAM that ran out, and not a device's memory.
        """
        try:
            step = step_down(planned, _facts(planned.spec), rung, host=host)
        except ModelFileError:
            return None
        return replace(step, planned=self._counted(step.planned)) if step else None

    def _counted(self, planned: Planned) -> Planned:
        """Return a smaller plan with the bytes that it is predicted to need, where they can be."""
        if self.room is None:
            return planned
        with contextlib.suppress(RelaydError, ValueError, LookupError):  # what cannot be read has no bytes
            needs = predicted_needs(planned.spec, self.features, self.room)
            return replace(planned, needs=needs, basis=Basis.PREDICTED)
        return planned


def predicted_needs(spec: ReplicaSpec, features: Features, room: Budget) -> dict[str, Bytes]:
    """Return what a process is predicted to need of each device; see `predicted_placement`."""
    return by_device(predicted_placement(spec, features, room).needs)


def predicted_placement(spec: ReplicaSpec, features: Features, room: Budget) -> Placement:
    """Return a process as the planner sees it, with what it is predicted to need.

    Args:
        spec: The process.
        features: What its engine can do.
        room: The machine.

    Raises:
        RelaydError: A file of its model cannot be read.
        ValueError: An argument of it is not what its flag takes.
        LookupError: Its architecture is not known.
    """
    projector, draft = spec.projector or projector_of(spec.extra_args), draft_of(spec.extra_args)
    form = configured_form(
        spec.file,
        Path(projector) if projector else None,
        [one.file for one in spec.loras],
        Path(draft) if draft else None,
    )
    flags = command(spec, features, _ANY_ADDRESS, _ANY_KEY)
    gpus = [Gpu(one.key, float(one.total)) for one in room.gpus]
    setup = setup_of(flags, form.build().shape.context_trained, gpus, room.repacked)
    return placed(form, setup, room)


def _facts(spec: ReplicaSpec) -> Facts:
    """Return what the rungs need to know of a model.

    Raises:
        ModelFileError: Its file cannot be read.
    """
    metadata = read_metadata(spec.file)
    return Facts(
        metadata.whole("context_length"),
        metadata.whole("block_count"),
        has_experts=f"{metadata.architecture}.expert_count" in metadata.values,
        smaller_files=smaller_files(spec.file),
        fixed=fixed_by(spec.extra_args),
    )


def smaller_files(file: Path) -> list[Path]:
    """Return the same model in smaller quantizations beside `file`, by name, the largest first."""
    base = _without_quantization(file)
    others = [other for other in _listed(file.parent) if _without_quantization(other) == base]
    sizes = {other: size_of(other) for other in others}
    fitting = [other for other in sizes if sizes[other] < size_of(file) and _serves(other)]
    return sorted(fitting, key=sizes.__getitem__, reverse=True)


def _listed(folder: Path) -> list[Path]:
    try:
        return [one for one in folder.iterdir() if is_gguf(one.name)]
    except OSError:
        return []


def _serves(file: Path) -> bool:
    """Return whether a file beside is a model too: it may be an adapter, or half a download."""
    try:
        judge(file, None)
    except ModelFileError:
        return False
    return True


def _without_quantization(file: Path) -> str:
    return _QUANTIZATION.sub("", file.stem.casefold())

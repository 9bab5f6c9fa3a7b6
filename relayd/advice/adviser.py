"""What should run on this machine, how exactly, and what does a configuration leave of it?"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from relayd.advice.confirm import Confirmation, confirm
from relayd.advice.files import File, file_of
from relayd.advice.known import known_models
from relayd.advice.measured import calibrated
from relayd.advice.winners import Winners, basis
from relayd.catalog import CatalogEntry, find_entry
from relayd.catalog.match import Match
from relayd.config import model_name
from relayd.endpoint import TcpAddress
from relayd.engine import Engine, command
from relayd.engine.memory import MemoryProbe
from relayd.errors import UsageError
from relayd.hardware import Machine
from relayd.models.skipped import Skipped, named_among
from relayd.planner.answers import Find, Proposal, answers
from relayd.planner.budget import Budget, budget
from relayd.planner.placement import Placement, spec
from relayd.planner.plan import ReplicaSpec
from relayd.planner.quality import Use
from relayd.planner.rank import Request
from relayd.planner.recommend import Advice, Known, advise, recommend
from relayd.units import Bytes

PORT = 8100
"""Where a printed command listens: the first port that relayd gives to replicas."""

FLAGS_OF_OURS = ("--api-key-file",)
"""Flags of a replica that a command typed by hand goes without: their files exist only while it runs."""


@dataclass(frozen=True, slots=True)
class Adviser:
    """Everything advice is made from.

    Attributes:
        machine: The machine, real or simulated.
        entries: The catalogue.
        files: What is on disk.
        models: Where downloaded models are stored.
        engine: The engine; None if none is installed.
        probe: Asks it about memory.
        simulated: Whether the machine is another one than this.
        assumed: What the description of another machine leaves open.
        runs: What `relayd bench` has measured on this machine.
        room: What models may take of the machine beside those that are configured; None is all that is free.
        skipped: Files on disk that cannot be judged.
        winners: Where the answers to earlier questions are kept; None keeps none.
    """

    machine: Machine
    entries: Sequence[CatalogEntry]
    files: Sequence[File]
    models: Path
    engine: Engine | None = None
    probe: MemoryProbe | None = None
    simulated: bool = False
    assumed: frozenset[str] | None = None
    runs: Sequence[Mapping[str, Any]] = ()
    room: Budget | None = None
    skipped: Sequence[Skipped] = ()
    winners: Path | None = None
    _known: dict[bool, list[Known]] = field(default_factory=dict)
    _budget: list[Budget] = field(default_factory=list)
    _finds: list[Find] = field(default_factory=list)
    _unforeseen: dict[str, Bytes] = field(default_factory=dict)

    @property
    def budget(self) -> Budget:
        """What models may take of the machine."""
        if not self._budget:
            self._budget.append(calibrated(self.room or budget(self.machine), self.runs))
        return self._budget[0]

    def best(self, request: Request, count: int = 10) -> tuple[Advice, ...]:
        """Return the models to choose from for a request, the best first."""
        known = [self._as_learned(one) for one in self._models(request.use)]
        return self._find(known, self.budget, request, count)

    def answers(self, request: Request, best: Advice | None) -> tuple[Proposal, ...]:
        """Return a comfortable model, the best, and a quick one, for a request of which the best is known."""
        known = [self._as_learned(one) for one in self._models(request.use)]
        return answers(known, self.budget, request, best, self._find)

    @property
    def _find(self) -> Find:
        if not self._finds:
            build = self.engine.build if self.engine else None
            kept = self.winners and Winners(self.winners, basis(self.entries, self.files, build))
            self._finds.append(kept.recommend if kept else recommend)
        return self._finds[0]

    def about(self, name: str, request: Request) -> tuple[Advice, list[Advice]]:
        """Return what to think of one model, and of each of its files alone.

        Args:
            name: `NAME` or `NAME:QUANT`, of the catalogue or of a file on disk.
            request: What it is wanted for.

        Raises:
            UsageError: No such model is known, or it has no file of known size.
        """
        known = self._as_learned(self._named(name, request.use))
        parts = [advise(replace(known, forms=(form,)), self.budget, request) for form in known.forms]
        return advise(known, self.budget, request), parts

    def _named(self, name: str, use: Use) -> Known:
        models = {one.name: one for one in self._models(use)}
        if own := models.get(name):
            return own
        match = self._entry(name)
        known = models.get(match.entry.name)
        if known is None:
            raise UsageError(
                f"the catalogue knows no file of {match.entry.name}",
                remedy=f"See `relayd catalog show {match.entry.name}`.",
            )
        forms = tuple(form for form in known.forms if match.quant in {"", form.quantization.name})
        return replace(known, forms=forms)

    def _entry(self, name: str) -> Match:
        """Return the catalogue's model of a name.

        Raises:
            UsageError: It has none, or more than one.
            ModelFileError: A file on disk of that name is not a model to serve.
        """
        try:
            return find_entry(self.entries, name)
        except UsageError:
            if error := named_among(self.skipped, name):
                raise error from None
            raise

    def _as_learned(self, known: Known) -> Known:
        return replace(known, unforeseen=self._unforeseen.get(known.name, known.unforeseen))

    def _models(self, use: Use) -> list[Known]:
        vision = use is Use.VISION
        if vision not in self._known:
            build = self.engine.build if self.engine else None
            self._known[vision] = known_models(self.entries, self.files, build, use)
        return self._known[vision]

    def file(self, name: str, placement: Placement) -> Path | None:
        """Return where the file of a placement is on disk; None if it is not."""
        found = file_of(self.files, name, placement)
        return found.path if found else None

    def called(self, name: str, placement: Placement) -> str:
        """Return what people type for a placement: `NAME:QUANT` of the catalogue, or the name of a file."""
        known = any(entry.name == name for entry in self.entries)
        return f"{name}:{placement.form.quantization.name}" if known else name

    def confirmation(self, name: str, placement: Placement) -> Confirmation:
        """Return what the engine reports for a placement; remembered by model, engine and flags."""
        here = not self.simulated or not placement.setup.gpus
        return confirm(self.probe, placement, self.file(name, placement), here=here)

    def learns(self, name: str, said: Confirmation) -> bool:
        """Note what the engine reports for a model beyond its prediction; return whether that is new.

        What is asked later leaves room for it.
        """
        more = Bytes(said.reported - said.predicted)
        known = self._unforeseen.get(name, 0)
        if said.note or said.on_cpu or said.agrees or more <= known:
            return False
        self._unforeseen[name] = more
        return True

    def replica(self, name: str, placement: Placement) -> ReplicaSpec:
        """Return the replica that a placement means; a file that is not here is where `pull` will put it."""
        quant = placement.form.quantization.name
        entry = next((one for one in self.entries if one.name == name), None)
        listed = entry.file(quant) if entry else None
        expected = Path(listed.file).name if listed and listed.file else f"{name}-{quant}.gguf"
        here = file_of(self.files, name, placement)
        file, projector = (here.path, here.projector) if here else (self.models / expected, None)
        if self.engine and self.engine.features.first("--mmproj") is None:
            projector = None
        replica = spec(placement, self.budget, model_name(self.called(name, placement)), 0, file)
        return replace(replica, projector=projector)

    def settings(self, name: str, placement: Placement) -> Mapping[str, object]:
        """Return the `[[model]]` of models.toml that runs a placement."""
        aliases = () if self.called(name, placement) == name else (name,)
        return settings(self.replica(name, placement), aliases)

    def command_line(self, name: str, placement: Placement) -> str:
        """Return the llama-server line that runs a placement, as a shell takes it.

        Raises:
            UsageError: There is no engine whose flags are known.
            EngineError: The engine is too old for a flag.
        """
        if self.engine is None:
            raise UsageError(
                "without an engine its flags are not known", remedy="Run `relayd engine install`."
            )
        replica = self.replica(name, placement)
        flags = list(command(replica, self.engine.features, TcpAddress(PORT), Path("key")))
        for flag in FLAGS_OF_OURS:
            place = flags.index(flag)
            del flags[place : place + 2]
        return shlex.join([str(self.engine.path), *flags])


def settings(replica: ReplicaSpec, aliases: Sequence[str] = ()) -> Mapping[str, object]:
    """Return a replica as a `[[model]]` of models.toml."""
    found: dict[str, object] = {
        "name": replica.model,
        "file": str(replica.file),
        "context": replica.context,
        "slots": replica.slots,
        "cache_ram_mib": replica.cache_ram_mib,
    }
    if replica.projector:
        found["projector"] = str(replica.projector)
    if aliases:
        found["aliases"] = list(aliases)
    if replica.embeddings:
        found["embeddings"] = True
    placement = msgspec.to_builtins(replica.placement)
    return {**found, "placement": {key: value for key, value in placement.items() if value is not None}}

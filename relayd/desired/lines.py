"""What one `[[model]]` line fixes, what is left to plan of it, and the process that a plan makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from relayd.advice.known import configured_form
from relayd.config import Model
from relayd.config.schema import Allocation
from relayd.engine import Engine
from relayd.engine.commandline import draft_of, fixed_by, placement_in, projector_of, unplanned
from relayd.errors import ModelFileError
from relayd.gguf.facts import FileRecord, record_of
from relayd.memory.setup import EVERY_LAYER
from relayd.memory.weights import CPU
from relayd.planner import Lora, ReplicaSpec, Residence
from relayd.planner.budget import HOST, Budget
from relayd.planner.fixed import ignored
from relayd.planner.fleet import Wanted
from relayd.planner.placement import (
    DEFAULT_SLOTS,
    ENOUGH_CONTEXT,
    FREE,
    MOST_SLOTS,
    READING_PACE,
    Aim,
    Form,
    Placement,
    spec,
)
from relayd.planner.quality import Use, made_for, pooling
from relayd.planner.shapes import LONGEST_INPUT
from relayd.units import Bytes

NEEDED_FLAGS = ("--device", "--fit")
"""Without these an engine cannot be given a placement."""


CANNOT_PLAN = "relayd cannot plan it: "
"""How the reason begins for which a file is left to its engine."""


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """A `[[model]]` line that relayd plans, with its files read.

    Attributes:
        model: The line.
        form: Its files, ready to be fitted.
        fixed: The placement that it fixes, in `[model.placement]` or in `args`.
    """

    model: Model
    form: Form
    fixed: Allocation = FREE

    @property
    def embeddings(self) -> bool:
        """Whether it answers with vectors: as its line has it, or as its file is made for nothing else."""
        return self.model.embeddings or self.use is Use.EMBEDDING

    def ignored(self, budget: Budget) -> list[str]:
        """Return what it fixes and nothing on a machine can follow, each with the reason."""
        found = ignored(self.fixed, budget, has_experts=self.form.build().has_experts)
        return [
            f"{self.model.name}: {name} = {_shown(getattr(self.fixed, name))}, and {why}"
            for name, why in found.items()
        ]

    def wanted(self, placed: tuple[Placement, ...] = (), unforeseen: int = 0) -> Wanted:
        """Return it as the planner takes it.

        Args:
            placed: The places of its replicas, where they stay.
            unforeseen: What the engine reports for each beyond the prediction.
        """
        model = self.model
        return Wanted(
            model.name,
            (self.form,),
            aim_of(model, self.form, self.fixed),
            model.least_replicas,
            placed,
            Bytes(unforeseen),
            prompt_cache_mib=0 if self.use is Use.EMBEDDING else model.cache_ram_mib,
        )

    @property
    def use(self) -> Use:
        """What its file is made for."""
        return use_of(self.form)


def use_of(form: Form) -> Use:
    """Return what a file is made for."""
    return made_for(form.build().model)


def open_context(form: Form, use: Use) -> int:
    """Return the tokens that a slot is given at most where its line does not set them.

    An input for a vector is read in one pass, whose memory grows with what it may hold. Few inputs are longer
    than those that OpenAI's models take, and 32k of a small model in four slots are 14 GiB.
    """
    trained = form.build().shape.context_trained
    return min(trained, LONGEST_INPUT) if use is Use.EMBEDDING else trained


def aim_of(model: Model, form: Form, fixed: Allocation) -> Aim:
    """Return what a line asks of a model; RAM for prompts of earlier requests is given later."""
    use = use_of(form)
    context = model.context or open_context(form, use)
    paced = not model.slots and use is Use.CHAT
    return Aim(
        context=context,
        least_context=context if model.context else min(context, Aim().least_context),
        slots=model.slots or (MOST_SLOTS if model.context and paced else DEFAULT_SLOTS),
        least_slots=model.slots or 1,
        # An input for a vector is whole or refused: there slots go down first.
        enough_context=ENOUGH_CONTEXT if paced else Aim().enough_context,
        pace=READING_PACE if paced else 0.0,
        use=use,
        extend=False,
        beyond_trained=True,
        prompt_cache_mib=0,
        embeddings=model.embeddings,
        fixed=fixed,
    )


@dataclass(frozen=True, slots=True)
class EngineLine:
    """A `[[model]]` line whose model the engine fits to the memory it finds.

    Attributes:
        model: The line.
        reason: Why, as a sentence.
        form: Its files; None where relayd cannot read their shape.
        fixed: The placement that it fixes.
    """

    model: Model
    reason: str
    form: Form | None = None
    fixed: Allocation = FREE

    @property
    def asked_for(self) -> bool:
        """Whether the operator wants it so."""
        return self.model.fit == "engine"


Line = PlannedLine | EngineLine


def _shown(value: int | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return " ".join(value)
    return "all" if value >= EVERY_LAYER else str(value)


def read_line(model: Model, engine: Engine, budget: Budget) -> Line:
    """Return a line with its files read; one with a damaged file is left to the engine, which refuses it."""
    projector, draft = model.projector or projector_of(model.args), draft_of(model.args)
    try:
        fixed = _fixed(model)
        form = configured_form(
            Path(model.file),
            Path(projector) if projector else None,
            [Path(one.file) for one in model.lora],
            Path(draft) if draft else None,
            engine.features.build,
        )
        form.build()
    except (ModelFileError, ValueError) as error:
        reason = error.message if isinstance(error, ModelFileError) else str(error)
        return EngineLine(model, f"{CANNOT_PLAN}{reason}")
    reason = _why_engine(model, fixed, engine, budget)
    return EngineLine(model, reason, form, fixed) if reason else PlannedLine(model, form, fixed)


def record_of_line(line: Line) -> FileRecord | None:
    """Return what the file of a line states, and needs for each token; None where it cannot be read."""
    if line.form is None:
        return None
    demand = line.form.build()
    if (record := record_of(Path(line.model.file), demand.model)) is None:
        return None
    return record[0], replace(record[1], token_bytes=demand.token_bytes)


def _fixed(model: Model) -> Allocation:
    """Return the placement that a line fixes; of two that differ, its arguments win."""
    typed, given = model.placement, placement_in(model.args)
    values = {name: getattr(given, name) for name in given.__struct_fields__}
    return msgspec.structs.replace(
        typed, **{name: value for name, value in values.items() if value is not None}
    )


def _why_engine(model: Model, fixed: Allocation, engine: Engine, budget: Budget) -> str:
    """Return why the engine fits a model itself; "" where relayd plans it."""
    if model.fit == "engine":
        return 'its line has fit = "engine"'
    if flags := unplanned(model.args):
        return f"its arguments have {' '.join(flags)}, which relayd does not plan"
    if missing := [flag for flag in NEEDED_FLAGS if flag not in engine.features.flags]:
        return f"llama-server {engine.version} has no {missing[0]}"
    known = {room.engine_name.casefold() for room in budget.gpus}
    if unknown := [name for name in fixed.devices or () if name.casefold() not in known]:
        return f"{' '.join(unknown)} is not among the devices that relayd sees"
    return ""


def left_to_engine(model: Model, engine: Engine, budget: Budget) -> bool:
    """Return whether the engine fits a model itself, whatever its files are."""
    try:
        return bool(_why_engine(model, _fixed(model), engine, budget))
    except ValueError:  # an argument that makes no sense
        return True


def line_spec(model: Model, index: int) -> ReplicaSpec:
    """Return the process that a line asks for, with nothing that a plan decides."""
    return ReplicaSpec(
        model=model.name,
        index=index,
        file=Path(model.file),
        projector=Path(model.projector) if model.projector else None,
        context=model.context,
        slots=model.slots,
        threads=model.threads,
        embeddings=model.embeddings,
        cache_ram_mib=model.cache_ram_mib,
        loras=tuple(Lora(Path(lora.file), lora.scale) for lora in model.lora),
        extra_args=model.args,
        fit=model.fit == "engine",
        placement=model.placement,
    )


def residence(model: Model, index: int) -> Residence:
    """Return when a replica is in memory, as its line has it."""
    return Residence(
        demand=model.load == "demand",
        pin=model.pin,
        home=model.home,
        idle_seconds=model.idle_minutes * 60 or None,
        growth=index >= model.least_replicas,
    )


def planned_spec(line: PlannedLine, index: int, placement: Placement, budget: Budget) -> ReplicaSpec:
    """Return the process of a replica that has a place; what its arguments say is left to them."""
    asked, found = line_spec(line.model, index), spec(placement, budget, line.model.name, index, Path())
    given = fixed_by(line.model.args) & {*Allocation.__struct_fields__}
    return replace(
        asked,
        context=found.context,
        slots=found.slots,
        embeddings=line.embeddings,
        pooling=pooling(line.form.build().model) if line.embeddings else "",
        cache_ram_mib=found.cache_ram_mib,
        fit=False,
        placement=msgspec.structs.replace(found.placement, **dict.fromkeys(given)),
    )


def by_device(needs: Mapping[str, int]) -> dict[str, Bytes]:
    """Return what a replica needs, with RAM under its name in plans: `host`."""
    return {HOST if key == CPU else key: Bytes(nbytes) for key, nbytes in needs.items()}


def by_room(needs: Mapping[str, int]) -> dict[str, Bytes]:
    """Return what a replica needs, with RAM under its name in budgets."""
    return {CPU if key == HOST else key: Bytes(nbytes) for key, nbytes in needs.items()}

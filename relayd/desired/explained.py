"""How a model is run when a person decides a part of it, and the planner the rest."""

from dataclasses import dataclass, replace

from relayd.config import Config
from relayd.config.schema import Allocation, Model
from relayd.config.values import CacheType
from relayd.desired.lines import aim_of
from relayd.desired.make import room_at
from relayd.desired.site import Site
from relayd.hardware import Machine
from relayd.memory.setup import Gpu, Setup
from relayd.planner.budget import Budget
from relayd.planner.fit import fit
from relayd.planner.placement import Aim, Form, Placement


@dataclass(frozen=True, slots=True)
class Decided:
    """What is not left to the planner.

    Attributes:
        context: Tokens a slot can hold; 0 leaves it open.
        slots: Requests at once; 0 leaves it open.
        kv_type: Type of keys and values in the cache; "" leaves it open.
        flash_attention: Whether attention is computed without its score matrix; None leaves it open.
        cache_ram_mib: RAM at most for prompts of earlier requests.
    """

    context: int = 0
    slots: int = 0
    kv_type: CacheType | None = None
    flash_attention: bool | None = None
    cache_ram_mib: int = 0

    @property
    def fixed(self) -> Allocation:
        """The same as a line of relay.toml fixes it; without flash attention values stay f16."""
        values = self.kv_type if self.flash_attention is not False else None
        return Allocation(
            cache_type_k=self.kv_type, cache_type_v=values, flash_attention=self.flash_attention
        )


def setup_for(form: Form, decided: Decided, machine: Machine, site: Site, *, simulated: bool) -> Setup:
    """Return the setup that `serve` would choose with nothing else on the machine.

    Where it fits nowhere, it is the most modest that was asked for, on all devices.

    Args:
        form: The model.
        decided: What is given.
        machine: Where it would run.
        site: Where benchmarks are remembered.
        simulated: Whether the machine is only described.
    """
    budget = room_at(site, Config(), machine, simulated=simulated)
    line = Model(name="model", file="model.gguf", context=decided.context, slots=decided.slots)
    aim = aim_of(line, form, decided.fixed)
    found = fit((form,), budget, aim)
    setup = found.setup if isinstance(found, Placement) else _modest(decided, aim, budget)
    return replace(setup, cache_ram_mib=decided.cache_ram_mib)


def _modest(decided: Decided, aim: Aim, budget: Budget) -> Setup:
    fixed = decided.fixed
    return Setup(
        context=aim.least_context * aim.least_slots,
        slots=aim.least_slots,
        type_k=fixed.cache_type_k or "f16",
        type_v=fixed.cache_type_v or "f16",
        flash_attention=fixed.flash_attention is not False,
        gpus=tuple(Gpu(room.key, float(max(1, room.usable))) for room in budget.gpus),
        repacked=budget.repacked,
    )

"""Planning: what fits on a machine and what is best (pure)."""

from relayd.planner.diff import Change, Changes, compare
from relayd.planner.plan import Basis, Lora, Planned, ReplicaSpec, Residence
from relayd.planner.smaller import Facts, Step, step_down

__all__ = [
    "Basis",
    "Change",
    "Changes",
    "Facts",
    "Lora",
    "Planned",
    "ReplicaSpec",
    "Residence",
    "Step",
    "compare",
    "step_down",
]

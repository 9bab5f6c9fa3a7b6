"""What fits: pure functions from machine, files and wishes to a plan."""

from relayd.planner.diff import Change, Changes, compare
from relayd.planner.plan import Basis, Lora, Planned, ReplicaSpec
from relayd.planner.smaller import Facts, Step, step_down

__all__ = [
    "Basis",
    "Change",
    "Changes",
    "Facts",
    "Lora",
    "Planned",
    "ReplicaSpec",
    "Step",
    "compare",
    "step_down",
]

"""What should run on this machine: the planner's answers, from this machine's files and engine."""

from relayd.advice.adviser import Adviser
from relayd.advice.answer import Question, Recommendations, answer
from relayd.advice.confirm import Confirmation
from relayd.advice.files import File, find_files
from relayd.advice.keep import keep
from relayd.advice.pick import Pick, pick
from relayd.engine.memory import MemoryProbe
from relayd.hardware.bandwidth import catalogued
from relayd.planner.budget import budget
from relayd.planner.document import plan_document
from relayd.planner.placement import Placement
from relayd.planner.quality import Use
from relayd.planner.simulate import simulate

__all__ = [
    "Adviser",
    "Confirmation",
    "File",
    "MemoryProbe",
    "Pick",
    "Placement",
    "Question",
    "Recommendations",
    "Use",
    "answer",
    "budget",
    "catalogued",
    "find_files",
    "keep",
    "pick",
    "plan_document",
    "simulate",
]

"""What should run on this machine: the planner's answers, from this machine's files and engine."""

from relayd.advice.adviser import Adviser
from relayd.advice.answer import Question, Recommendations, answer
from relayd.advice.confirm import Confirmation
from relayd.advice.files import File, find_files
from relayd.advice.pick import MOST_LOADED, Pick, pick

__all__ = [
    "MOST_LOADED",
    "Adviser",
    "Confirmation",
    "File",
    "Pick",
    "Question",
    "Recommendations",
    "answer",
    "find_files",
    "pick",
]

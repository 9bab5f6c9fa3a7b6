"""Who runs where, when: pure, and the only owner of that decision."""

from relayd.scheduler.events import (
    Arrived,
    Dispatch,
    Draining,
    Effect,
    Event,
    Expected,
    Finished,
    Forgotten,
    Gone,
    Idle,
    Lost,
    Ready,
    Refusal,
    Refuse,
    Returned,
    Tick,
    Ticket,
)
from relayd.scheduler.scheduler import ModelLoad, Scheduler

__all__ = [
    "Arrived",
    "Dispatch",
    "Draining",
    "Effect",
    "Event",
    "Expected",
    "Finished",
    "Forgotten",
    "Gone",
    "Idle",
    "Lost",
    "ModelLoad",
    "Ready",
    "Refusal",
    "Refuse",
    "Returned",
    "Scheduler",
    "Tick",
    "Ticket",
]

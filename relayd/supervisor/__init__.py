"""Keeps replicas as they are wanted: spawned, ready, restarted, adopted, stopped."""

from relayd.supervisor.dependencies import Dependencies
from relayd.supervisor.fleet import Fleet
from relayd.supervisor.launcher import EngineLauncher
from relayd.supervisor.listener import ReplicaListener
from relayd.supervisor.replica import Replica
from relayd.supervisor.state import State
from relayd.supervisor.status import Settings, Status

__all__ = [
    "Dependencies",
    "EngineLauncher",
    "Fleet",
    "Replica",
    "ReplicaListener",
    "Settings",
    "State",
    "Status",
]

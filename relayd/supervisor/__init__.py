"""Keeps replicas as they are wanted: spawned, ready, restarted, adopted, stopped."""

from relayd.supervisor.audience import Audience
from relayd.supervisor.fleet import Fleet
from relayd.supervisor.launcher import EngineLauncher
from relayd.supervisor.replica import Replica
from relayd.supervisor.state import State
from relayd.supervisor.status import Settings, Status
from relayd.supervisor.world import World

__all__ = ["Audience", "EngineLauncher", "Fleet", "Replica", "Settings", "State", "Status", "World"]

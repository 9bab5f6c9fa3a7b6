"""relayd as a service of systemd or launchd."""

from relayd.service.budget import stop_budget_seconds
from relayd.service.managed import Managed, managed
from relayd.service.notify import Notifier, counts
from relayd.service.sockets import inherited_sockets

__all__ = [
    "Managed",
    "Notifier",
    "counts",
    "inherited_sockets",
    "managed",
    "stop_budget_seconds",
]

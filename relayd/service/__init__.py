"""relayd as a service of systemd or launchd."""

from relayd.service.managed import Managed, managed
from relayd.service.notify import Notifier, counts
from relayd.service.sockets import inherited_socket
from relayd.service.units import stop_budget_seconds

__all__ = [
    "Managed",
    "Notifier",
    "counts",
    "inherited_socket",
    "managed",
    "stop_budget_seconds",
]

"""How does relayd live as a guest of the operating system's service manager?"""

from relayd.service.channel import Channel
from relayd.service.notify import Notifier, counts
from relayd.service.pulse import Pulse
from relayd.service.sockets import inherited_socket
from relayd.service.units import stop_budget_seconds

__all__ = ["Channel", "Notifier", "Pulse", "counts", "inherited_socket", "stop_budget_seconds"]

"""The administrator's API over TCP: what it offers, how it is asked, and how it answers."""

from relayd.api.admin.actions import ACTIONS, Action
from relayd.api.admin.routes import Offered, admin_routes

__all__ = ["ACTIONS", "Action", "Offered", "admin_routes"]

"""The dashboard's way in: its files, links that open it once, logging in and out."""

from relayd.api.ui.links import Links
from relayd.api.ui.routes import Entrance, ui_routes

__all__ = ["Entrance", "Links", "ui_routes"]

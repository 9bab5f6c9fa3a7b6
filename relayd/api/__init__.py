"""The doors: who may ask, what they may ask for, and how they are told no."""

from relayd.api.connection import Limits
from relayd.api.door import Door, Route, Visit
from relayd.api.errors import error_answer, error_payload
from relayd.api.fleet import Fleet, ModelState, ModelView
from relayd.api.guard import make_policy
from relayd.api.health import health_routes
from relayd.api.keys import FailedKeys, Keyring
from relayd.api.openai import openai_routes
from relayd.api.server import Listener, listen

__all__ = [
    "Door",
    "FailedKeys",
    "Fleet",
    "Keyring",
    "Limits",
    "Listener",
    "ModelState",
    "ModelView",
    "Route",
    "Visit",
    "error_answer",
    "error_payload",
    "health_routes",
    "listen",
    "make_policy",
    "openai_routes",
]

"""One request to one replica."""

from relayd.router.body import Kind, Peek, peek
from relayd.router.dispatch import Dispatcher, Lease
from relayd.router.headers import Call
from relayd.router.pool import Pools
from relayd.router.proxy import Placement, Proxy

__all__ = ["Call", "Dispatcher", "Kind", "Lease", "Peek", "Placement", "Pools", "Proxy", "peek"]

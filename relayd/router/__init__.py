"""One request to one replica."""

from relayd.router.attempts import Attempts, Reply
from relayd.router.body import BodyRules, Peek, peek
from relayd.router.dialect import Dialect, Problem, Translation
from relayd.router.dispatch import Dispatcher, Lease
from relayd.router.exchange import Exchanges, Record
from relayd.router.headers import Call
from relayd.router.pool import Pools
from relayd.router.proxy import Proxy

__all__ = [
    "Attempts",
    "BodyRules",
    "Call",
    "Dialect",
    "Dispatcher",
    "Exchanges",
    "Lease",
    "Peek",
    "Pools",
    "Problem",
    "Proxy",
    "Record",
    "Reply",
    "Translation",
    "peek",
]

"""One request to one replica."""

from relayd.router.attempts import Attempts, Reply
from relayd.router.body import BodyRules, Peek, peek
from relayd.router.dialect import Dialect, Problem, Translation
from relayd.router.dispatch import ENDING, Dispatcher, Lease
from relayd.router.exchange import ExchangeRecord, Exchanges
from relayd.router.headers import Call
from relayd.router.pool import Pools
from relayd.router.proxy import Proxy

__all__ = [
    "ENDING",
    "Attempts",
    "BodyRules",
    "Call",
    "Dialect",
    "Dispatcher",
    "ExchangeRecord",
    "Exchanges",
    "Lease",
    "Peek",
    "Pools",
    "Problem",
    "Proxy",
    "Reply",
    "Translation",
    "peek",
]

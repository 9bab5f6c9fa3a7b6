"""One request to one replica."""

from relayd.router.attempts import Attempts, Reply
from relayd.router.body import BodyRules, Peek, peek
from relayd.router.dialect import Dialect, Problem, Translation
from relayd.router.dispatch import ENDING, Dispatcher, Lease
from relayd.router.exchange import ExchangeRecord, Exchanges
from relayd.router.headers import Call
from relayd.router.pool import Pools
from relayd.router.proxy import Proxy
from relayd.router.recipient import FULL_BYTES, Fields, Recipient

__all__ = [
    "ENDING",
    "FULL_BYTES",
    "Attempts",
    "BodyRules",
    "Call",
    "Dialect",
    "Dispatcher",
    "ExchangeRecord",
    "Exchanges",
    "Fields",
    "Lease",
    "Peek",
    "Pools",
    "Problem",
    "Proxy",
    "Recipient",
    "Reply",
    "Translation",
    "peek",
]

"""One request to one replica."""

from relayd.router.additions import with_additions
from relayd.router.attempts import Attempts, Reply
from relayd.router.beside import Beside
from relayd.router.body import OpenedBody, Peek, judge, open_body, peek
from relayd.router.continuationprobe import continuation_probes
from relayd.router.dialect import Dialect, Problem, Translation
from relayd.router.dispatch import ENDING, STOPPED, Dispatcher
from relayd.router.eager import EagerRun, become_task
from relayd.router.exchange import ExchangeRecord, Exchanges
from relayd.router.fingerprint import NO_FINGERPRINT, Fingerprint, fingerprint, fingerprint_of
from relayd.router.headers import OWN_FIELDS, Call, SentBody
from relayd.router.lease import Lease
from relayd.router.llamaserver import LLAMA_SERVER
from relayd.router.looser import LooserTools
from relayd.router.looser import bare as bare_tools
from relayd.router.looser import looser as looser_tools
from relayd.router.looser import shapeless as shapeless_tools
from relayd.router.members import DROP, BodyRules, Unlisted, changed
from relayd.router.mending import CHANGED
from relayd.router.ollamamembers import OLLAMA, OPTIONS
from relayd.router.passage import Passage
from relayd.router.pool import Fetched, Pools
from relayd.router.prefill import inferred_batch
from relayd.router.progress import ProgressComments
from relayd.router.proxy import Proxy
from relayd.router.recipient import FULL_BYTES, AnswerFields, Fields, Recipient, StraightRecipient
from relayd.router.salvage import NO_TEXT, PlainText, Salvaged
from relayd.router.suspects import Suspects
from relayd.router.timelimits import UNTIMED, TimeLimits, TimeLimitWatch
from relayd.router.tokenlimit import UNLIMITED, TokenLimit

__all__ = [
    "CHANGED",
    "DROP",
    "ENDING",
    "FULL_BYTES",
    "LLAMA_SERVER",
    "NO_FINGERPRINT",
    "NO_TEXT",
    "OLLAMA",
    "OPTIONS",
    "OWN_FIELDS",
    "STOPPED",
    "UNLIMITED",
    "UNTIMED",
    "AnswerFields",
    "Attempts",
    "Beside",
    "BodyRules",
    "Call",
    "Dialect",
    "Dispatcher",
    "EagerRun",
    "ExchangeRecord",
    "Exchanges",
    "Fetched",
    "Fields",
    "Fingerprint",
    "Lease",
    "LooserTools",
    "OpenedBody",
    "Passage",
    "Peek",
    "PlainText",
    "Pools",
    "Problem",
    "ProgressComments",
    "Proxy",
    "Recipient",
    "Reply",
    "Salvaged",
    "SentBody",
    "StraightRecipient",
    "Suspects",
    "TimeLimitWatch",
    "TimeLimits",
    "TokenLimit",
    "Translation",
    "Unlisted",
    "bare_tools",
    "become_task",
    "changed",
    "continuation_probes",
    "fingerprint",
    "fingerprint_of",
    "inferred_batch",
    "judge",
    "looser_tools",
    "open_body",
    "peek",
    "shapeless_tools",
    "with_additions",
]

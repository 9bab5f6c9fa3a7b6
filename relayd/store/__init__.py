"""What outlives a crash: locks, records, measurements."""

from relayd.store.lock import Lock, holder, is_held, lock_of_daemon
from relayd.store.records import Record, Records
from relayd.store.runs import remember_run, remembered_runs

__all__ = [
    "Lock",
    "Record",
    "Records",
    "holder",
    "is_held",
    "lock_of_daemon",
    "remember_run",
    "remembered_runs",
]

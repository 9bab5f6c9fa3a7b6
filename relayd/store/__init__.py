"""What outlives a crash: replica records and measurements."""

from relayd.store.records import Record, Records
from relayd.store.reductions import Reductions
from relayd.store.runs import remember_run, remembered_runs

__all__ = [
    "Record",
    "Records",
    "Reductions",
    "remember_run",
    "remembered_runs",
]

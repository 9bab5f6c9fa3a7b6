"""What outlives a crash: replica records, measurements, pins."""

from relayd.store.pins import Pins
from relayd.store.records import Record, Records
from relayd.store.reductions import Reductions
from relayd.store.runs import remember_run, remembered_runs

__all__ = [
    "Pins",
    "Record",
    "Records",
    "Reductions",
    "remember_run",
    "remembered_runs",
]

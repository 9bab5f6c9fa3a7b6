"""How often each event was written into the journal, and what plots mark (counts of events)."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

MARKED = frozenset({
    "replica.ready", "replica.evicted", "replica.exited", "replica.smaller", "replica.fatal", "reload.begins",
    "upgrade.done", "daemon.listening",
})  # fmt: skip
"""Events that plots mark."""

OnMark = Callable[[float, str, str, str], None]
"""Called with the moment, the event, its subject, and why."""


class EventCounts(logging.Handler):
    """Counts what the journal is given; from threads too, whose lock the library holds.

    Args:
        on_mark: Called with every event that plots mark.

    Attributes:
        by_event: Event → how often.
        loads: Model → how often a replica of it became ready.
        exits: Model and cause → how many of its processes have ended so.
    """

    def __init__(self, on_mark: OnMark = lambda *_: None) -> None:
        super().__init__(logging.INFO)
        self._on_mark = on_mark
        self.by_event: Counter[str] = Counter()
        self.loads: Counter[str] = Counter()
        self.exits: Counter[tuple[str, str]] = Counter()

    def __repr__(self) -> str:
        return f"<EventCounts {self.by_event.total()} events>"

    def emit(self, record: logging.LogRecord) -> None:
        """Count an event."""
        event = getattr(record, "event", "")
        if not event:
            return
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        self.by_event[event] += 1
        replica = str(fields.get("replica", ""))
        model = replica.rpartition("#")[0]
        if event == "replica.ready":
            self.loads[model] += 1
        elif event == "replica.exited":
            self.exits[model, str(fields.get("cause", ""))] += 1
        if event in MARKED:
            self._on_mark(record.created, event, replica, str(fields.get("cause", fields.get("reason", ""))))

"""How long do people wait for a slot while a batch runs, and while none does?

They ask alone, then beside a batch, then alone again, each for the same time on the same daemon.
"""

import json
import statistics
import sys
import threading
import time
from datetime import datetime
from random import Random
from typing import Any

from tests.batches.kills import Streams
from tests.batches.place import Place, ask, lines, submit
from tests.daemons import Daemon

MOST_MILLISECONDS = 50.0
"""By how much the 95th percentile may be longer with a batch."""


def measure(place: Place, *, number: int, streams: int, seconds: float, seed: int) -> bool:
    """Print how long people waited; return whether the bar is met."""
    daemon = place.start()
    people, marks, taken = Streams(streams), list[float](), list[float]()
    people.url = daemon.url
    try:
        with people.running():
            marks.append(time.time())
            threading.Event().wait(seconds / 4)
            marks.append(time.time())
            batch = submit(daemon.url, lines(Random(seed), number, 20, 200))
            while time.time() < marks[-1] + seconds / 2:
                threading.Event().wait(0.25)
                taken.append(_taken(daemon))
            found = ask(daemon.url, "GET", f"/v1/batches/{batch}")
            ask(daemon.url, "POST", f"/v1/batches/{batch}/cancel", {})
            marks.append(time.time())
            threading.Event().wait(seconds / 4)
    finally:
        daemon.end()
        daemon.leftovers()
    waits: dict[bool, list[float]] = {True: [], False: []}
    firsts: dict[bool, list[float]] = {True: [], False: []}
    for one in _requests(place):
        if one["class"] != "background" and one["first_byte_ms"] is not None:
            is_beside = marks[1] < _began(one) < marks[2]
            waits[is_beside].append(one["queue_ms"] or 0.0)
            firsts[is_beside].append(one["first_byte_ms"])
    alone, beside = (_p95(waits[one]) for one in (False, True))
    usage = found["usage"]
    sys.stdout.write(
        f"{len(waits[False])} requests alone, {len(waits[True])} beside "
        f"{found['request_counts']['completed']} lines; wait for a slot p95 {alone:.1f} and {beside:.1f} ms "
        f"(at most {MOST_MILLISECONDS:.0f} ms more), "
        f"first byte p95 {_p95(firsts[False]):.0f} and {_p95(firsts[True]):.0f} ms; slots taken meanwhile "
        f"{statistics.fmean(taken):.0%}; cached {usage['input_tokens_details']['cached_tokens']:,} of "
        f"{usage['input_tokens']:,} tokens\n"
    )
    return beside <= alone + MOST_MILLISECONDS


def _taken(daemon: Daemon) -> float:
    model = daemon.status()["models"][0]
    running, slots = int(model["running"]), int(model["slots"])
    return running / max(slots, 1)


def _requests(place: Place) -> list[dict[str, Any]]:
    found = (json.loads(one) for path in place.request_logs() for one in path.read_text().splitlines())
    return [one for one in found if one["path"] == "/v1/chat/completions"]


def _began(one: dict[str, Any]) -> float:
    took = float(one["total_ms"]) / 1000
    return datetime.fromisoformat(one["time"]).timestamp() - took


def _p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * len(values))] if values else 0.0

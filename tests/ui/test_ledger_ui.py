"""The ledger of `relayd status` shows accounts, who waits for whom, loads and evictions."""

from io import StringIO

import pytest
from rich.console import Console, Group

from relayd.daemon.report import (
    AccountReport,
    LedgerReport,
    LoadReport,
    MemoryWaitReport,
    ModelReport,
    ReplicaReport,
)
from relayd.ui.ledger import ledger_notes, ledger_table
from relayd.units import GIB, MIB

pytestmark = pytest.mark.pure

LEDGER = LedgerReport(
    accounts=(AccountReport("host", 4 * GIB, 3 * GIB, 2 * GIB, 3 * GIB, 512 * MIB, 512 * MIB, 2 * GIB),),
    waiting=(MemoryWaitReport("b#0", "b", 5.0, {"host": GIB}, ("a#0", "c#0")),),
    leaving={"a#0": "nobody_waits"},
    loads=(LoadReport("a#0", 1.0, 9.4, 0.72), LoadReport("c#0", 1.0, 0.0, 3.0, "bad file")),
    evictions={"memory": 3, "idle": 1},
)


def shown(ledger: LedgerReport, *models: ModelReport) -> list[str]:
    out = StringIO()
    notes = ledger_notes(ledger, models, 9.0)
    Console(file=out, width=120, _environ={}).print(Group(ledger_table(ledger), *notes))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_accounts_waits_loads_and_evictions_are_shown() -> None:
    assert [
        "LEDGER  CAPACITY  PLANNED  WEIGHTS  MEASURED   OTHERS     FREE  IN USE",
        "host     4.0 GiB  3.0 GiB  2.0 GiB   2.0 GiB  512 MiB  512 MiB  ███████░",
        "b#0 has waited 4.0 s for 1.0 GiB of host, for a#0, c#0 to make room",
        "a#0 leaves memory (nobody waits) when its requests have ended",
        "last loads: a#0 in 0.7 s (waited 9.4 s); c#0 failed after 3.0 s",
        "unloaded since the daemon started: memory 3, idle 1",
    ] == shown(LEDGER)


def test_a_quiet_ledger_is_its_table() -> None:
    assert 2 == len(shown(LedgerReport(accounts=LEDGER.accounts)))


def waits(wait: MemoryWaitReport, *models: ModelReport) -> str:
    return shown(LedgerReport(waiting=(wait,)), *models)[-1]


def test_a_wait_that_nobody_ends_says_why() -> None:
    wait = MemoryWaitReport("b#0", "b", 5.0, {"host": GIB})
    ready, cold = ReplicaReport("a#0", "ready", pid=7), ReplicaReport("a#1", "cold")
    pinned, free = (ModelReport("a", replicas=(ready, cold), pinned=pin) for pin in (True, False))
    begins = "b#0 has waited 4.0 s for 1.0 GiB of host; "

    assert f"{begins}nothing makes room: a#0 is pinned" == waits(wait, pinned)
    assert f"{begins}nothing makes room: all is in use" == waits(wait, free)
    unasked = MemoryWaitReport("b#0", "b", 5.0, {"host": GIB}, wanted=False)
    assert f"{begins}others make room once a request or `relayd load` asks for it" == waits(unasked, pinned)
    own = ModelReport("b", replicas=(ready,))
    assert f"{begins}no other model makes room for one more replica" == waits(unasked, own)

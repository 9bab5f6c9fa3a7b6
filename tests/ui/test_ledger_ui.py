"""The ledger of `relayd status` shows accounts, who waits for whom, loads and evictions."""

from io import StringIO

import pytest
from rich.console import Console, Group

from relayd.daemon.report import AccountReport, LedgerReport, LoadReport, MemoryWaitReport
from relayd.ui.ledger import ledger_notes, ledger_table
from relayd.units import GIB, MIB

pytestmark = pytest.mark.pure

LEDGER = LedgerReport(
    accounts=(AccountReport("host", 4 * GIB, 3 * GIB, 2 * GIB, 3 * GIB, 512 * MIB, 512 * MIB),),
    waiting=(MemoryWaitReport("b#0", "b", 5.0, {"host": GIB}, ("a#0", "c#0")),),
    leaving={"a#0": "nobody_waits"},
    loads=(LoadReport("a#0", 1.0, 9.4, 0.72), LoadReport("c#0", 1.0, 0.0, 3.0, "bad file")),
    evictions={"memory": 3, "idle": 1},
)


def shown(ledger: LedgerReport) -> list[str]:
    out = StringIO()
    Console(file=out, width=120, _environ={}).print(Group(ledger_table(ledger), *ledger_notes(ledger, 9.0)))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_accounts_waits_loads_and_evictions_are_shown() -> None:
    assert [
        "LEDGER  CAPACITY  PLANNED  MEASURED   OTHERS     FREE",
        "host     4.0 GiB  3.0 GiB   2.0 GiB  512 MiB  512 MiB",
        "b#0 waits for 1.0 GiB of host since 4.0 s, for a#0, c#0 to make room",
        "a#0 leaves memory (nobody waits) when its requests have ended",
        "last loads: a#0 in 0.7 s (waited 9.4 s); c#0 failed after 3.0 s",
        "unloaded since the daemon started: memory 3, idle 1",
    ] == shown(LEDGER)


def test_a_quiet_ledger_is_its_table() -> None:
    assert 2 == len(shown(LedgerReport(accounts=LEDGER.accounts)))

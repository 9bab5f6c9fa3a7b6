"""What `relayd status` shows of a report, which is made of the same values that the daemon sends."""

import io

import pytest
from msgspec.structs import replace
from rich.console import Console

from relayd.daemon.donereport import DoneReport
from relayd.daemon.report import (
    AccountReport,
    EngineReport,
    HeldMemoryReport,
    LedgerReport,
    MemoryReport,
    ModelReport,
    PlannedMemoryReport,
    PredecessorReport,
    ReplicaReport,
    ServiceReport,
    StatusReport,
)
from relayd.ui.status import path_lines, render_status
from relayd.units import GIB, MIB

pytestmark = pytest.mark.pure

REPLICA = ReplicaReport("m#0", "ready", pid=7, slots=1)
PLANNED = PlannedMemoryReport({"host": 2 * GIB}, 512 * MIB, "confirmed")


def report(replica: ReplicaReport) -> StatusReport:
    model = ModelReport("m", slots=1, replicas=(replica,))
    return StatusReport(version="1", pid=1, url="http://x", engine=EngineReport("/e", "b1"), models=(model,))


def lines_of(status: StatusReport) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=140, _environ={}).print(render_status(status, 9.0))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def shown(replica: ReplicaReport) -> list[str]:
    return lines_of(report(replica))


def with_memory(planned: PlannedMemoryReport, held: HeldMemoryReport | None) -> ReplicaReport:
    return replace(REPLICA, memory=MemoryReport(planned, held))


def test_memory_is_shown_for_each_device_as_planned_and_as_held() -> None:
    planned = replace(PLANNED, bytes={"host": 2 * GIB, "cuda0": 9 * GIB})
    held = HeldMemoryReport({"host": GIB, "cuda0": 8 * GIB}, "rss")
    lines = shown(with_memory(planned, held))

    cache = "and 512 MiB at most for earlier prompts, held with all shared pages"
    assert f"m#0 host 2.0 GiB 1.0 GiB {cache}" in lines
    assert "m#0 cuda0 9.0 GiB 8.0 GiB" in lines


def test_the_file_of_a_model_is_told_from_memory_of_its_own() -> None:
    """Weights in the CPU's own order are read from the file once: its pages are no need any more."""
    planned = replace(PLANNED, bytes={"host": 21 * GIB}, prompt_cache_bytes=0)
    repacked = HeldMemoryReport({"host": 40 * GIB}, "pss", 20 * GIB)
    mapped = HeldMemoryReport({"host": 21 * GIB}, "pss", 20 * GIB)

    cached = "1.0 GiB of it a mapped file, and 19 GiB of its file, cached until memory is short"
    assert f"m#0 host 21 GiB 21 GiB {cached}" in shown(with_memory(planned, repacked))
    assert "m#0 host 21 GiB 21 GiB 20 GiB of it a mapped file" in shown(with_memory(planned, mapped))


def test_a_prediction_says_so_and_what_is_not_known_is_a_dash() -> None:
    planned = PlannedMemoryReport({"host": 2 * GIB}, 0, "prediction", ("its graph",))

    assert "m#0 host 2.0 GiB - predicted, roughly" in shown(with_memory(planned, None))
    assert not [line for line in shown(REPLICA) if line.startswith("m#0 host")]


def test_a_fault_of_relayd_is_shown_as_one() -> None:
    fault = "m#0: relayd failed to look at it, and tries again: ValueError(), 3 so far"

    assert fault in shown(replace(REPLICA, health_fault="ValueError(), 3 so far"))


def test_the_service_is_shown_with_what_it_allows_and_where_its_journal_is() -> None:
    service = ServiceReport(
        "systemd", "relayd.service", "journalctl -u relayd.service", 65536, 4915, 3 * GIB, 30
    )
    lines = lines_of(replace(report(REPLICA), service=service, predecessor=PredecessorReport(6, 2)))

    allowed = "65,536 files, 4,915 tasks, 3.0 GiB, watchdog 30 s"
    assert f"systemd runs it as relayd.service: {allowed}; journalctl -u relayd.service" in lines
    assert "the daemon before (pid 6) has 2 requests to finish" in lines


def test_why_a_replica_is_cold_is_shown() -> None:
    cold = replace(REPLICA, state="cold", pid=None, reason="m#0 is not started: no room")

    assert "m#0 is not started: no room" in shown(cold)


def test_replicas_that_are_cold_for_the_same_reason_share_a_line() -> None:
    cold = [replace(REPLICA, name=f"{name}#0", state="cold", pid=None) for name in "abcd"]
    reasons = ["a#0 is loaded on demand", "no request came for it", "c#0 is loaded on demand"]
    reasons.append("d#0 cannot be loaded: too large")
    replicas = [replace(one, reason=why) for one, why in zip(cold, reasons, strict=True)]
    models = tuple(ModelReport(one.name[0], replicas=(one,)) for one in replicas)

    assert [
        "a#0, c#0: loaded on demand",
        "b#0: no request came for it",
        "d#0 cannot be loaded: too large",
    ] == lines_of(replace(report(REPLICA), models=models))[-3:]


def test_what_is_not_in_memory_takes_no_line_of_the_memory_table() -> None:
    cold = replace(with_memory(PLANNED, None), name="c#0", state="cold")

    assert [] == [line for line in shown(cold) if line.startswith(("MEMORY", "c#0 host"))]


WIDTHS = (80, 100, 140)


def test_paths_are_whole_lines() -> None:
    engine = EngineReport(
        f"/home/me/.local/share/relayd/engines/{'b11434-cpu-' * 9}/bin/llama-server", "b11434"
    )
    status = replace(
        report(REPLICA), engine=engine, config=("/etc/relay.toml", "RELAYD_API_KEY"), logs="/var/l"
    )

    assert [
        f"llama.cpp b11434  {engine.path}",
        "configuration     /etc/relay.toml, RELAYD_API_KEY",
        "logs              /var/l",
    ] == path_lines(status)


@pytest.mark.parametrize("columns", WIDTHS)
def test_what_requests_came_to_is_shown_with_memory_bars(columns: int) -> None:
    done = DoneReport(1234, 3, 56_789, 98_765, 38.25)
    model = replace(report(REPLICA).models[0], done=done)
    ledger = LedgerReport((AccountReport("host", 20 * GIB, free=5 * GIB),))
    shown = screen(replace(report(REPLICA), models=(model,), memory=ledger), columns)

    assert "relayd 1 (pid 1) at http://x, up 9.0 s, 1,234 requests, 98,765 tokens written" == shown[0]
    assert "m         1,234       3       56,789   98,765        38.2" in shown
    assert any(line.endswith("██████░░") for line in shown)
    assert all(len(line) <= columns for line in shown)


def screen(status: StatusReport, columns: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=columns, _environ={}).print(render_status(status, 9.0))
    return [line.rstrip() for line in out.getvalue().splitlines()]

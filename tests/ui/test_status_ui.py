"""What `relayd status` shows of a report."""

import io
from typing import Any

import pytest
from rich.console import Console

from relayd.ui.status import render_status
from relayd.units import GIB, MIB

pytestmark = pytest.mark.pure

PLANNED = {"bytes": {"cpu": 2 * GIB}, "prompt_cache_bytes": 512 * MIB, "basis": "plan", "rough": []}


def report(**replica: Any) -> dict[str, Any]:
    one = {
        "name": "m#0", "state": "ready", "since": 0, "pid": 7, "slots": 1, "restarts": 0, "reduced": [],
        "retry_at": None, "health_fault": None, "last_exit": None, "memory": {"planned": None, "held": None},
    }  # fmt: skip
    model = {"demo": False, "running": 0, "waiting": 0, "slots": 1, "replicas": [one | replica]}
    return {
        "version": "1", "pid": 1, "url": "http://x", "since": 0, "stopping": False, "warnings": [],
        "engine": {"version": "b1", "path": "/e"}, "models": [model],
    }  # fmt: skip


def shown(**replica: Any) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=140, _environ={}).print(render_status(report(**replica), 9.0))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_memory_is_shown_for_each_device_as_planned_and_as_held() -> None:
    planned = PLANNED | {"bytes": {"cpu": 2 * GIB, "cuda0": 9 * GIB}}
    held = {"bytes": {"cpu": GIB, "cuda0": 8 * GIB}, "source": "rss"}
    lines = shown(memory={"planned": planned, "held": held})

    cache = "and 512 MiB at most for earlier prompts, held with all shared pages"
    assert f"m#0 cpu 2.0 GiB 1.0 GiB {cache}" in lines
    assert "m#0 cuda0 9.0 GiB 8.0 GiB" in lines


def test_a_prediction_says_so_and_what_is_not_known_is_a_dash() -> None:
    planned = PLANNED | {"basis": "prediction", "prompt_cache_bytes": 0, "rough": ["its graph"]}

    assert "m#0 cpu 2.0 GiB - predicted, roughly" in shown(memory={"planned": planned, "held": None})
    assert not [line for line in shown() if line.startswith("m#0 cpu")]


def test_a_fault_of_relayd_is_told_as_such() -> None:
    told = "m#0: relayd failed to look at it, and tries again: ValueError(), 3 so far"

    assert told in shown(health_fault="ValueError(), 3 so far")


def test_the_service_is_shown_with_what_it_allows_and_where_its_journal_is() -> None:
    service = {
        "manager": "systemd", "name": "relayd.service", "journal": "journalctl -u relayd.service",
        "open_files": 65536, "tasks": 4915, "memory": 3 * GIB, "watchdog_seconds": 30,
    }  # fmt: skip
    out = io.StringIO()
    told = report() | {"service": service, "predecessor": {"pid": 6, "requests": 2}}
    Console(file=out, width=140, _environ={}).print(render_status(told, 9.0))

    allowed = "65,536 files, 4,915 tasks, 3.0 GiB, watchdog 30 s"
    assert (
        f"systemd runs it as relayd.service: {allowed}; journalctl -u relayd.service"
        in out.getvalue().splitlines()
    )
    assert "the daemon before (pid 6) has 2 requests to finish" in out.getvalue()

"""Batches on a terminal: what matters stays at any width."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from relayd.ui.batches import BatchRow, batch_page, batch_row, batches_table, cost_text, progress_text

pytestmark = pytest.mark.pure

ROW = BatchRow(
    id="batch_0123456789abcdef",
    name="first",
    status="in_progress",
    total=10_000,
    completed=4_197,
    failed=3,
    created=1_000.0,
    model="qwen3-8b",
    endpoint="/v1/chat/completions",
    tokens_in=500_000,
    tokens_cached=400_000,
    tokens_out=90_000,
    lines_per_second=12.4,
    tokens_per_second=310.0,
    seconds_left=466.0,
    slot_seconds=4_464.0,
)


@pytest.mark.parametrize("columns", [20, 40, 60, 79, 100, 139, 200])
def test_progress_fits_any_width_and_keeps_what_matters(columns: int) -> None:
    line = progress_text(ROW, 4, columns)

    assert len(line) <= columns
    assert "42 %" in line


def test_progress_shows_rate_time_left_and_cost() -> None:
    assert (
        "first  ████████░░░░░░░░░░░░   42 %  4,200 of 10,000, 3 failed  12.4/s  310 tokens/s  "
        "7 min 46 s left  0.31 GPU h"
    ) == progress_text(ROW, 4, 120)
    assert "paused: the disk is full" in progress_text(replace(ROW, paused="the disk is full"), 0, 120)
    assert progress_text(replace(ROW, status="completed"), 0, 120).endswith("completed  1.24 slot h")


def test_cost_is_of_slots_where_a_replica_is_not_known() -> None:
    assert ["", "0.31 GPU h", "1.24 slot h", "0.0100 slot h"] == [
        cost_text(0.0, 4),
        cost_text(4_464.0, 4),
        cost_text(4_464.0, 0),
        cost_text(36.0, 0),
    ]


@pytest.mark.parametrize("width", [80, 140])
def test_a_table_keeps_each_batch_on_a_line(width: int) -> None:
    rows = [ROW, replace(ROW, id="batch_2", name="", status="completed", seconds_left=None, paused="")]

    lines = shown(batches_table(rows, 4_600.0, width), width)

    assert 3 == len(lines)
    assert ["BATCH", "NAME", "STATE", "DONE", "FAILED"] == lines[0].split()[:5]
    assert ("4,197 of 10,000       3" in lines[1], "7 min 46 s" in lines[1]) == (True, True)


def test_a_page_has_all_that_is_known() -> None:
    text = "\n".join(shown(batch_page(replace(ROW, faults=("line 3: bad",)), 4, 4_600.0), 100))

    for fact in ("4,197 of 10,000 done, 3 failed", "500,000 in (400,000 cached), 90,000 out", "line 3: bad"):
        assert fact in text


def test_a_batch_of_another_server_lacks_what_only_relayd_reports() -> None:
    row = batch_row({"id": "batch_1", "status": "validating", "request_counts": None, "metadata": None})

    assert ("batch_1", "validating", 0, None, 0.0) == (
        row.id,
        row.status,
        row.total,
        row.seconds_left,
        row.slot_seconds,
    )


def shown(table: object, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as text:
        console.print(table)
    return text.get().rstrip("\n").split("\n")

from math import isnan
from pathlib import Path

import pytest

from tests.bench.table import Row, load, median, missed, store, tables, with_tables

pytestmark = pytest.mark.pure


def rows(*values: tuple[str, str, float]) -> list[Row]:
    return [Row(peer, subject, value, {"errors": 1}) for peer, subject, value in values]


def test_a_cost_is_shown_as_a_ratio_to_nginx() -> None:
    shown = list(tables(rows(("nginx", "requests", 10.0), ("relayd", "requests", 25.0))))

    assert "| request, 32 connections | 10.0 µs | 2.50 x |" in shown


def test_a_figure_stands_beside_its_bar() -> None:
    shown = list(tables(rows(("nginx", "idle_kb", 0.5), ("relayd", "idle_kb", 1.25))))

    assert "| memory of an idle connection, of 1,000 | 0.5 kB | 1.25 kB | 4 kB |" in shown


def test_what_was_not_measured_has_an_empty_cell() -> None:
    shown = list(tables(rows(("nginx", "chunks", 10.0), ("relayd", "one", 25.0))))

    assert "| chunk, 32 streams | 10.0 µs |  |" in shown
    assert "| request, 1 connection |  | 25.0 µs |" in shown


def test_the_middle_of_all_rounds_counts() -> None:
    measured = rows(("nginx", "one", 9.0), ("nginx", "one", 1.0), ("nginx", "one", 2.0))

    assert 2.0 == median(measured, "nginx", "one")
    assert isnan(median(measured, "relayd", "one"))


def test_failed_requests_are_counted_under_the_tables() -> None:
    assert list(tables(rows(("nginx", "one", 9.0), ("nginx", "one", 1.0))))[-1].endswith(
        "median of 2 rounds, failed requests: 2."
    )


def test_bars_that_are_not_kept_are_named() -> None:
    measured = rows(
        ("nginx", "requests", 10.0), ("relayd", "requests", 30.1),
        ("nginx", "chunks", 10.0), ("relayd", "chunks", 13.4),
        ("nginx", "chunk_delay", 1.0), ("relayd", "chunk_delay", 3.5),
        ("relayd", "idle_kb", 4.5), ("relayd", "stream_kb", 19.9),
    )  # fmt: skip

    assert [
        "request, 32 connections: 3.01 x nginx, at most 3",
        "delay of a chunk, p99, 1,000 paced streams: 3.5 ms, at most 3 x nginx",
        "memory of an idle connection, of 1,000: 4.5 kB, at most 4 kB",
    ] == list(missed(measured))


def test_rows_that_were_stored_are_read_again(tmp_path: Path) -> None:
    measured = rows(("nginx", "one", 9.0))
    store(measured, tmp_path / "rows.json")

    assert measured == load(tmp_path / "rows.json")


def test_the_tables_of_a_readme_are_replaced() -> None:
    first = with_tables("a\n<!-- bench: begin -->\n<!-- bench: end -->\nb", rows(("nginx", "one", 9.0)))
    second = with_tables(first, rows(("nginx", "one", 8.0)))

    assert first.startswith("a\n<!-- bench: begin -->\n| CPU of")
    assert "8.0 µs" in second
    assert "9.0 µs" not in second
    assert second.endswith("<!-- bench: end -->\nb")

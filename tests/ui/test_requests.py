"""Do the tables and pages of `relayd requests` show what is open, what has ended, and where the time went?"""

import io

import pytest
from msgspec import to_builtins
from msgspec.structs import replace
from rich.console import Console, RenderableType

from relayd.daemon.adminreport import RequestReport
from relayd.daemon.livereport import FinishedReport, LiveReport
from relayd.daemon.report import StatusReport
from relayd.ui.requests import finished_line, request_page, requests_table

pytestmark = pytest.mark.pure

NOW = 1_800_000_000.0
WAITING = RequestReport(
    "id-1", "/v1/x", "qwen", "key_1", "waiting", NOW - 41, 0.0, reason="qwen is loading", position=2
)
ENDED = FinishedReport(
    "id-2", "/v1/x", "qwen", "key_1", replica="qwen#0", ended="done", status=200, at=NOW, seconds=4.0,
    queue_seconds=1.0, first_byte_seconds=2.0, prompt_tokens=100, cached_tokens=60, completion_tokens=50,
)  # fmt: skip


def text(shown: RenderableType, width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(shown)
    return out.getvalue()


def test_what_waits_shows_for_what_and_whose_it_is() -> None:
    report = LiveReport(StatusReport(), requests={"1": WAITING}, keys={"key_1": "laptop"})

    shown = text(requests_table(report, NOW, 120))

    for word in ("id-1", "laptop", "waiting: qwen is loading", "41 s"):
        assert word in shown


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_tables_fit_the_terminal(width: int) -> None:
    report = LiveReport(StatusReport(), requests={"1": WAITING}, finished={"0": ENDED})

    assert max(map(len, text(requests_table(report, NOW, width), width).splitlines())) <= width


def test_nothing_open_is_a_sentence() -> None:
    assert "No request is open.\n" == text(requests_table(LiveReport(StatusReport()), NOW, 80))


def test_a_line_of_what_has_ended_has_its_times_and_tokens() -> None:
    line = finished_line(ENDED, "laptop")

    for word in (
        "id-2",
        "laptop",
        "qwen#0",
        "queue 1.0 s",
        "first 2.0 s",
        "total 4.0 s",
        "100+50 tokens, 60 cached",
    ):
        assert word in line


def test_the_page_of_a_request_shows_where_its_time_went() -> None:
    shown = text(
        request_page(
            "id-2", [], [to_builtins(ENDED)], [{"request_id": "id-2", "class": "normal"}], ["a line"]
        )
    )

    assert "[qqqqqqqqqqppppppppppaaaaaaaaaaaaaaaaaaaa] queue 1.00 s, prompt 1.00 s, answer 2.00 s" in shown
    assert "a line" in shown


def test_a_narrow_list_shows_how_ids_begin_and_keeps_each_request_on_one_line() -> None:
    long = replace(ENDED, id="6ba1f8a8b40c4a7d9b1e0c2d3e4f5a6b", model="qwen3.6-35b-a3b:UD-Q4_K_M")

    shown = text(requests_table(LiveReport(StatusReport(), finished={"0": long}), NOW, 80), 80).splitlines()

    assert 4 == len(shown)
    assert shown[3].startswith("6ba1f8a8b4  ")


def test_a_timeline_has_a_letter_for_each_part_of_the_time() -> None:
    row = to_builtins(replace(ENDED, load_seconds=0.5, continued=2))

    shown = text(request_page("id-2", [], [row], [], []), 140)

    assert "[qqqqqlllllppppppppppaaaaaaaaaaaaaaaaaaaa]" in shown
    assert "queue 0.50 s, load 0.50 s, prompt 1.00 s, answer 2.00 s, continued 2 times" in shown

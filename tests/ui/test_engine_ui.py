import io

import pytest
from rich.console import Console

from relayd.ui.engine import EngineRow, LineProgress, engines_table, shown_progress

pytestmark = pytest.mark.pure


def _console(*, terminal: bool = False) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=60, _environ={}), out


def test_the_current_engine_is_marked_in_the_table() -> None:
    engines = [
        EngineRow(
            "b2-cpu-0123abcd", "release", 23 << 20, current=True, backend="cpu", installed_at=86400.0 * 2
        ),
        EngineRow("b1-cpu-0123abcd", "build", 23 << 20, current=False),
    ]
    out = io.StringIO()
    Console(file=out, width=100, _environ={}).print(engines_table(engines))

    header, first, second = (line.split() for line in out.getvalue().splitlines())
    assert ["ENGINE", "BACKEND", "INSTALLED", "SOURCE", "SIZE"] == header
    assert ["current", "b2-cpu-0123abcd", "cpu"] == first[:3]
    assert ["official", "release", "23", "MiB"] == first[4:]
    assert ["b1-cpu-0123abcd", "compiled", "here", "23", "MiB"] == second


def test_out_of_a_terminal_a_line_is_printed_each_tenth_or_ten_seconds() -> None:
    console, out = _console()
    now = 100.0
    progress = LineProgress(console, lambda: now)
    progress.at("compiling", None)
    for percent in range(0, 26, 5):
        progress.at("compiling", percent / 100)
    now += 10
    progress.at("compiling", 0.26)
    progress.at("linking", None)

    expected = ["compiling", "compiling: 10%", "compiling: 20%", "compiling: 26%", "linking"]
    assert expected == out.getvalue().splitlines()


def test_r51_a_long_line_is_not_broken_nor_read_as_markup() -> None:
    console, out = _console()
    text = "no archive: [/x] " + "a" * 80
    LineProgress(console, lambda: 0.0).say(text)
    assert [text] == out.getvalue().splitlines()


def test_on_a_terminal_a_bar_moves_and_lines_stay_above_it() -> None:
    console, out = _console(terminal=True)
    with shown_progress(console, lambda: 0.0) as progress:
        progress.at("fetching [bold]", 0.25)
        progress.say("a line")
        progress.at("compiling", None)
        progress.at("compiling", 0.5)
    assert "a line" in out.getvalue()
    assert "fetching [bold]" in out.getvalue()


def test_out_of_a_terminal_there_is_no_bar() -> None:
    console, out = _console()
    with shown_progress(console, lambda: 0.0) as progress:
        progress.at("compiling", 0.5)
    assert "compiling: 50%\n" == out.getvalue()

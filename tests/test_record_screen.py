"""The recorder of the README's picture shows what a terminal shows."""

import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.pure

RECORDER = runpy.run_path(str(Path(__file__).parents[1] / "extras" / "record_screen.py"))


@pytest.mark.parametrize(
    ("fed", "shown"),
    [
        ("one\r\ntwo", "one\ntwo"),
        ("50 %\r\x1b[2K100 %", "100 %"),
        ("a\r\nb\r\n\x1b[1A\x1b[2Kc", "a\nc\n"),
        ("left\x1b[10Gright", "left     right"),
        ("\x1b[?25lhidden cursor\x1b[?25h", "hidden cursor"),
        ("x" * 101, "x" * 100 + "\nx"),
    ],
)
def test_control_sequences_are_followed(fed: str, shown: str) -> None:
    screen = RECORDER["Screen"]()
    screen.feed(fed)

    assert shown == screen.ansi()


def test_a_run_of_one_colour_is_one_piece() -> None:
    screen = RECORDER["Screen"]()
    screen.feed("\x1b[1m$ relayd\x1b[0m plain")

    assert "\x1b[1m$ relayd\x1b[0m plain" == screen.ansi()
    assert "$&#160;relayd" in RECORDER["svg"](screen.ansi())

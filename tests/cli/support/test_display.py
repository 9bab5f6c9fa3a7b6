"""Progress is shown when there is some, and costs nothing before."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.system

_LOADED = "print('rich' in sys.modules)"


def ran(*lines: str) -> tuple[str, str]:
    """Return output and errors of a program that has a display `shown`."""
    program = ["import sys", "from relayd.cli.support.display import ConsoleDisplay", *lines, _LOADED]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(program)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip(), done.stderr


def test_work_without_progress_loads_nothing_to_show_it() -> None:
    lines = ("with ConsoleDisplay().progress():", "    pass", "with ConsoleDisplay().doing('x'):", "    pass")

    assert ("False", "") == ran(*lines)


def test_what_is_reported_is_shown() -> None:
    lines = (
        "with ConsoleDisplay().progress() as progress:",
        "    progress.say('one')",
        "    progress.say('two')",
    )

    assert ("True", "one\ntwo\n") == ran(*lines)


def test_a_quiet_display_shows_nothing_of_it() -> None:
    lines = ("with ConsoleDisplay(quiet=True).progress() as progress:", "    progress.at('one', 0.5)")

    assert ("True", "") == ran(*lines)

"""Are the screens of recommend, bench, logs and init those that somebody has read?"""

import pytest

from tests.ui import commandscreens
from tests.ui.screens import FILE, screens

_READ = "read them: python -m tests.ui.screens"


@pytest.mark.pure
def test_the_screens_are_those_of_the_file() -> None:
    assert FILE.read_text().splitlines() == screens().splitlines(), _READ


@pytest.mark.system
def test_the_screens_of_commands_are_those_of_their_file() -> None:
    shown = commandscreens.command_screens().splitlines()

    assert commandscreens.FILE.read_text("utf-8").splitlines() == shown, _READ

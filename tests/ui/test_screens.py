"""Are the screens of `relayd recommend` those that somebody has read?"""

import pytest

from tests.ui.screens import FILE, screens

pytestmark = pytest.mark.pure


def test_the_screens_are_those_of_the_file() -> None:
    assert FILE.read_text().splitlines() == screens().splitlines(), "read them: python -m tests.ui.screens"

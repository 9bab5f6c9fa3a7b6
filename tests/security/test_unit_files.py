"""Does relayd mind whose rights it has?"""

import os
from pathlib import Path

import pytest

from relayd.cli.support.serving import root_warning
from relayd.desired.state import _warnings

pytestmark = pytest.mark.system


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is not root")
def test_r61_as_root_relayd_warns_once(tmp_path: Path) -> None:
    assert [True] == ["root" in warning for warning in root_warning(tmp_path)]
    assert () == root_warning(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root is warned")
def test_r61_as_another_user_it_does_not(tmp_path: Path) -> None:
    assert () == root_warning(tmp_path)


def test_r2_an_open_door_is_a_warning_too() -> None:
    assert any("key" in warning for warning in _warnings(insecure=True))

"""Does relayd mind whose rights it has?"""

import os

import pytest

from relayd.desired.state import _warnings

pytestmark = pytest.mark.system


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is not root")
def test_r61_as_root_relayd_warns() -> None:
    assert any("root" in warning for warning in _warnings(insecure=False))


@pytest.mark.skipif(os.geteuid() == 0, reason="root is warned")
def test_r61_as_another_user_it_does_not() -> None:
    assert not _warnings(insecure=False)


def test_r2_an_open_door_is_a_warning_too() -> None:
    assert any("key" in warning for warning in _warnings(insecure=True))

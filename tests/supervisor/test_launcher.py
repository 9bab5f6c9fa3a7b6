"""Which refusals of the system are worth another try?"""

import errno
import os
from pathlib import Path

import pytest

from relayd.errors import StateError
from relayd.lock import Lock
from tests.contract.stage import Stage

pytestmark = pytest.mark.fake


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.EROFS, OSError), (errno.ENOSPC, OSError), (errno.EMFILE, OSError), (errno.EACCES, StateError)],
)
def test_a_runtime_folder_that_may_be_usable_again_is_no_reason_to_give_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception]
) -> None:
    def refuse(_path: Path) -> None:
        raise OSError(number, os.strerror(number))

    stage = Stage(tmp_path / "llama-server", tmp_path)
    launcher = stage.launcher()
    monkeypatch.setattr(Lock, "try_take", refuse)

    with pytest.raises(expected, match=os.strerror(number)):
        launcher.prepare(stage.planned(), 1)

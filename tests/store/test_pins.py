"""What commands pin or unpin outlives the daemon."""

from pathlib import Path

import pytest

from relayd.errors import StateError
from relayd.store import Pins

pytestmark = pytest.mark.system


def test_what_is_pinned_is_read_by_the_next_daemon(tmp_path: Path) -> None:
    assert {} == Pins(tmp_path).read()
    Pins(tmp_path).write({"a": True, "b": False})

    assert {"a": True, "b": False} == Pins(tmp_path).read()


@pytest.mark.parametrize("text", ["{", '{"schema": 9, "models": {}}', '{"models": 3}'])
def test_a_file_that_makes_no_sense_is_put_aside(tmp_path: Path, text: str) -> None:
    (tmp_path / "pins.json").write_text(text)

    assert {} == Pins(tmp_path).read()
    assert ["pins.json.corrupt-1"] == [path.name for path in tmp_path.iterdir()]


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be written"):
        Pins(tmp_path / "none").write({"a": True})

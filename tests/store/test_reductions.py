"""What replicas were made smaller to outlives the daemon, and a file that makes no sense is put aside."""

import json
import threading
from pathlib import Path

import pytest

from relayd.errors import StateError
from relayd.store import Reductions

pytestmark = pytest.mark.system


def test_without_a_file_nothing_is_kept(tmp_path: Path) -> None:
    assert {} == Reductions(tmp_path).read()


def test_what_is_kept_is_read_by_the_next_daemon(tmp_path: Path) -> None:
    kept = Reductions(tmp_path)
    kept.put("a#0", {"rung": 1})
    kept.put("b#0", {"rung": 2})
    kept.put("a#0", None)

    assert {"b#0": {"rung": 2}} == Reductions(tmp_path).read()


def test_the_file_says_its_layout(tmp_path: Path) -> None:
    Reductions(tmp_path).put("a#0", {"rung": 1})

    assert {"schema": 1, "replicas": {"a#0": {"rung": 1}}} == json.loads(
        (tmp_path / "reductions.json").read_text()
    )


def test_what_does_not_change_writes_nothing(tmp_path: Path) -> None:
    Reductions(tmp_path).put("a#0", None)

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["{", '{"schema": 9, "replicas": {}}', '{"replicas": 3}'])
def test_a_file_that_makes_no_sense_is_put_aside(tmp_path: Path, text: str) -> None:
    (tmp_path / "reductions.json").write_text(text)

    assert {} == Reductions(tmp_path).read()
    assert ["reductions.json.corrupt-1"] == [path.name for path in tmp_path.iterdir()]


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be written"):
        Reductions(tmp_path / "none").put("a#0", {"rung": 1})


def test_threads_lose_nothing_of_each_other(tmp_path: Path) -> None:
    kept = Reductions(tmp_path)
    names = [f"m#{number}" for number in range(8)]
    threads = [threading.Thread(target=kept.put, args=(name, {"rung": 1})) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(names) == set(kept.read())

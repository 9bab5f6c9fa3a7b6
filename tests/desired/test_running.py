"""Is it seen which replicas run, by whichever daemon they were started?"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.config import Model
from relayd.desired.picked import remember, still_running
from relayd.desired.running import running_replicas
from relayd.lock import Lock
from relayd.supervisor.child import Files

pytestmark = pytest.mark.system


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """A runtime folder in which `a#0` runs and `b#0` has ended."""
    for name in ("a#0", "b#0"):
        files = Files.of(tmp_path, name)
        files.lock.with_suffix(".json").write_text(json.dumps({"replica": name, "pid": 7, "more": "members"}))
        files.lock.touch()
    lock = Lock.try_take(Files.of(tmp_path, "a#0").lock)
    assert lock
    yield tmp_path
    lock.close()


def test_those_run_that_hold_their_lock(held: Path) -> None:
    assert {"a#0": 7} == running_replicas(held)


def test_what_cannot_be_understood_is_left_alone(held: Path) -> None:
    (held / "damaged.json").write_text("{")
    (held / "other.json").write_text('["not a record"]')

    assert {"a#0": 7} == running_replicas(held)
    assert (held / "damaged.json").exists()


def test_without_a_folder_nothing_runs(tmp_path: Path) -> None:
    assert {} == running_replicas(tmp_path / "missing")


def test_of_what_was_chosen_that_stays_which_runs(held: Path) -> None:
    a, b = Model(name="a", file="/a.gguf"), Model(name="b", file="/b.gguf")
    remember(held, (a, b))

    assert (a,) == still_running(held)

import threading
from collections.abc import Callable
from typing import Any

import pytest

from relayd.engine import EngineShelf, Installed
from relayd.errors import EngineMissing
from tests.daemons import DEADLINE_SECONDS

pytestmark = pytest.mark.system

Put = Callable[..., Installed]


def test_an_empty_shelf_has_no_engine(shelf: EngineShelf) -> None:
    assert ((), None, None) == (shelf.engines(), shelf.current(), shelf.previous())


def test_the_engine_added_last_is_the_current_one(shelf: EngineShelf, put: Put) -> None:
    first, second = put("b1-cpu"), put("b2-cpu")
    assert (second, first) == (shelf.current(), shelf.previous())
    assert (second, first) == shelf.engines()


def test_the_size_of_an_engine_is_that_of_its_files(shelf: EngineShelf, put: Put) -> None:
    engine = put("b1-cpu")
    assert shelf.binary(engine).stat().st_size == engine.size_bytes


def test_rolling_back_twice_is_where_one_began(shelf: EngineShelf, put: Put) -> None:
    first, second = put("b1-cpu"), put("b2-cpu")
    assert first == shelf.roll_back()
    assert first == shelf.current()
    assert second == shelf.roll_back()


def test_there_is_nothing_to_roll_back_to_after_one_installation(shelf: EngineShelf, put: Put) -> None:
    put("b1-cpu")
    with pytest.raises(EngineMissing, match="no earlier engine"):
        shelf.roll_back()


def test_pruning_keeps_the_current_and_the_previous_engine_of_every_cpu(shelf: EngineShelf, put: Put) -> None:
    for name in ("b1-cpu", "b2-cpu", "b3-cpu", "b4-cpu"):
        put(name)
    EngineShelf(shelf.root, "ffffffff").switch("b1-cpu")

    assert ("b2-cpu",) == shelf.prune()
    assert ["b4-cpu", "b3-cpu", "b1-cpu"] == [engine.id for engine in shelf.engines()]


def test_an_engine_for_another_cpu_is_not_the_current_one(shelf: EngineShelf, put: Put) -> None:
    put("b1-cpu")
    assert None is EngineShelf(shelf.root, "ffffffff").current()


@pytest.mark.parametrize("damage", ["manifest.json", "bin/llama-server"])
def test_an_incomplete_engine_is_not_listed(shelf: EngineShelf, put: Put, damage: str) -> None:
    engine = put("b1-cpu")
    (shelf.root / engine.id / damage).unlink()
    assert ((), None) == (shelf.engines(), shelf.current())


def test_a_damaged_pointer_is_no_engine(shelf: EngineShelf, put: Put) -> None:
    put("b1-cpu")
    (shelf.root / f"current-{shelf.cpu}.json").write_text("{")
    assert None is shelf.current()


def test_a_pointer_cannot_lead_outside(shelf: EngineShelf, put: Put) -> None:
    put("b1-cpu")
    (shelf.root / f"current-{shelf.cpu}.json").write_text('{"current": "../engines/b1-cpu"}')
    assert None is shelf.current()


def test_an_installation_that_was_interrupted_leaves_nothing(shelf: EngineShelf) -> None:
    shelf.root.mkdir()

    def interrupted() -> None:
        with shelf.staging() as staging:
            (staging / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [] == list(shelf.root.iterdir())


def test_what_a_killed_installation_left_is_removed_by_the_next(shelf: EngineShelf) -> None:
    left_over = shelf.root / ".staging-killed" / "bin"
    left_over.mkdir(parents=True)
    assert () == shelf.engines()
    with shelf.staging():
        assert not left_over.exists()


def test_a_second_installer_waits_and_says_so(shelf: EngineShelf, messages: Any) -> None:
    waiting, done = threading.Event(), threading.Event()

    class Waiting:
        def say(self, text: str) -> None:
            messages.say(text)
            waiting.set()

        def at(self, label: str, share: float | None) -> None:
            pass

    def second() -> None:
        with EngineShelf(shelf.root, shelf.cpu).locked(Waiting()):
            done.set()

    thread = threading.Thread(target=second)
    with shelf.locked(messages):
        thread.start()
        assert waiting.wait(DEADLINE_SECONDS)
        assert not done.is_set()
    assert done.wait(DEADLINE_SECONDS)
    thread.join()
    assert ["Another relayd is installing an engine; waiting for it."] == messages.said


def test_the_folder_of_engines_belongs_to_its_owner_alone(shelf: EngineShelf, messages: Any) -> None:
    with shelf.locked(messages):
        assert 0o700 == shelf.root.stat().st_mode & 0o777


def test_stray_files_in_the_folder_are_no_engines(shelf: EngineShelf, put: Put) -> None:
    put("b1-cpu")
    (shelf.root / "build.log").touch()
    (shelf.root / "empty").mkdir()
    assert ["b1-cpu"] == [engine.id for engine in shelf.engines()]

"""What `relayd serve` serves when it is told a name, or nothing at all."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.test_faults import ask
from tests.daemons import Daemon

pytestmark = pytest.mark.real


@pytest.fixture
def models(home: Path, tiny_model: Path) -> Path:
    """relayd's own folder with two models in it."""
    folder = home / "data" / "relayd" / "models"
    folder.mkdir(parents=True)
    for name in ("one-F32.gguf", "two-F32.gguf"):
        shutil.copyfile(tiny_model, folder / name)
    return folder


def test_a_model_on_disk_is_served_by_its_name(start_daemon: Callable[..., Daemon], models: Path) -> None:
    daemon = start_daemon("", "two")

    (model,) = daemon.status()["models"]
    assert ("two-F32", ["two"]) == (model["name"], model["aliases"])
    assert str(models / "two-F32.gguf") == model["file"]
    assert ask(daemon.url, 3, model="two").done


def test_without_a_word_what_is_on_disk_is_served_as_it_fits(
    start_daemon: Callable[..., Daemon], models: Path
) -> None:
    daemon = start_daemon("")
    names = {model["name"] for model in daemon.status()["models"]}
    command = next(iter(daemon.replicas().values()))["command"]

    assert {path.stem for path in models.iterdir()} == names
    assert "off" == command[command.index("--fit") + 1], "the plan is what runs"
    assert ask(daemon.url, 3, model=names.pop()).done


def test_with_nothing_on_disk_the_way_to_a_model_is_shown(start_daemon: Callable[..., Daemon]) -> None:
    daemon = start_daemon("", wait=False)

    assert daemon.await_event("nothing_to_serve")["command"].startswith("relayd pull ")
    daemon.await_event("listening")

"""What `relayd serve` serves when it is told a name, or nothing at all."""

import json
import re
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


def test_what_was_chosen_stays_as_it_is_while_it_runs(
    start_daemon: Callable[..., Daemon], models: Path, tiny_model: Path
) -> None:
    daemon = start_daemon("")
    before = {name: one["pid"] for name, one in daemon.replicas().items()}
    chosen = daemon.home / "r" / "picked.json"
    assert '"context":' in chosen.read_text()
    chosen.write_text(re.sub('"context":[0-9]+', '"context":768', chosen.read_text()))
    shutil.copyfile(tiny_model, models / "three-F32.gguf")
    done = daemon.run("reload", "--json")
    after = daemon.replicas()

    assert 0 == done.returncode, done.stdout
    assert ["three-F32#0"] == json.loads(done.stdout)["added"]
    assert before.keys() | {"three-F32#0"} == after.keys()
    for name in before:
        command = after[name]["command"]
        context = int(command[command.index("--ctx-size") + 1])
        assert 768 * after[name]["slots"] == context, "what was written down is what is planned"


def test_what_was_chosen_is_chosen_anew_once_it_has_ended(
    start_daemon: Callable[..., Daemon], models: Path
) -> None:
    daemon = start_daemon("")
    assert 0 == daemon.run("stop").returncode
    (models / "one-F32.gguf").unlink()

    assert ["two-F32#0"] == list(start_daemon("").replicas())

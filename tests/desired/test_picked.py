"""Is everything on a disk offered where nothing is configured, under names of its own?"""

from dataclasses import replace
from pathlib import Path

import pytest

from relayd.config import Config, Model
from relayd.config.schema import MemoryBudget
from relayd.desired.picked import models_to_serve, offered, with_aliases
from relayd.desired.plans import ModelPlanner, ModelPlans
from relayd.models.ondisk import Found, Store
from relayd.models.skipped import Skipped
from relayd.planner.reserve import allowance
from tests.desired.desk import FEATURES, later, planner, plans, sparse
from tests.planner.models import machine

pytestmark = pytest.mark.system

NAMES = ("qwen3-30b-a3b", "qwen3-8b", "qwen3.5-4b")


def found(folder: Path, name: str, store: Store = "folder") -> Found:
    path = Path(sparse(folder, name))
    return Found(name, (path,), path.stat().st_size, store)


@pytest.fixture
def disk(tmp_path: Path) -> list[Found]:
    return [found(tmp_path, name) for name in NAMES]


def here(mib: int = 24 * 1024) -> ModelPlanner:
    return planner("ram=64", host_mib=mib)


def served(disk: list[Found], mib: int = 24 * 1024, running: tuple[Model, ...] = ()) -> tuple[Model, ...]:
    room = allowance(machine("ram=64"), MemoryBudget(host_mib=mib))
    return models_to_serve(disk, room, FEATURES, running).models


def test_every_model_on_disk_is_offered_and_the_best_fleet_loaded(disk: list[Found]) -> None:
    models = served(disk)
    planned = plans(here(), *models)

    assert {*NAMES} == {model.name for model in models}
    assert ["qwen3-30b-a3b", "qwen3-8b"] == [one.model for one in planned.plan if not one.cold]
    assert ["qwen3.5-4b"] == [one.model for one in planned.plan if one.residence.demand]


def test_a_copy_in_a_second_store_is_offered_once(tmp_path: Path, disk: list[Found]) -> None:
    (tmp_path / "copies").mkdir()
    copy = found(tmp_path / "copies", "qwen3-8b", "lmstudio")

    assert len(NAMES) == len(served([*disk, copy]))


def test_two_models_of_one_name_are_told_apart(tmp_path: Path, disk: list[Found]) -> None:
    (tmp_path / "other").mkdir()
    other = replace(found(tmp_path / "other", "qwen3.5-9b"), name="qwen3-8b")
    names = [model.name for model in served([*disk, other])]

    assert {"qwen3-8b", "qwen3-8b-2"} < {*names}
    assert len(names) == len({*names})


def test_what_lies_in_a_llamafile_is_not_offered(disk: list[Found]) -> None:
    assert "qwen3-8b" not in {
        model.name for model in served([disk[0], replace(disk[1], embedded=True), disk[2]])
    }


def test_what_runs_keeps_its_line_whatever_else_is_on_the_disk(disk: list[Found]) -> None:
    running = tuple(model for model in served(disk[1:]) if model.load == "start")
    models = served(disk, running=running)

    assert running == models[: len(running)]
    assert {*NAMES} == {model.name for model in models}


def test_an_alias_belongs_to_the_first_that_has_it_and_a_name_to_nothing_else() -> None:
    one, two = (Model(name=name, file=f"/{name}", aliases=("m", "b", "no name")) for name in ("a", "b"))

    assert [("m",), ()] == [model.aliases for model in with_aliases([one, two])]


def offer(models: tuple[Model, ...], mib: int) -> tuple[Config, ModelPlans, str, list[Skipped]]:
    skipped: list[Skipped] = []
    config = Config(model=models)
    return *offered(config, here(mib).plans(config), skipped), skipped


def test_what_this_machine_cannot_load_is_named_in_one_line_and_not_offered(disk: list[Found]) -> None:
    config, found_plans, note, _ = offer(served(disk, 8 * 1024), 8 * 1024)

    assert "1 model is too large for this machine: qwen3-30b-a3b" == note
    assert "qwen3-30b-a3b" not in {model.name for model in config.model}
    assert {model.name for model in config.model} == {one.model for one in found_plans.plan}
    assert "qwen3-30b-a3b" in {one.model for one in found_plans.remembered}


def test_a_file_that_relayd_cannot_plan_is_skipped(tmp_path: Path, disk: list[Found]) -> None:
    (tmp_path / "odd.gguf").write_bytes(b"GGUF")
    odd = Model(name="odd", file=str(tmp_path / "odd.gguf"), load="demand")
    config, _, note, skipped = offer((*served(disk), odd), 24 * 1024)

    assert "" == note
    assert [tmp_path / "odd.gguf"] == [one.path for one in skipped]
    assert "odd" not in {model.name for model in config.model}


def test_the_next_start_offers_the_same(disk: list[Found]) -> None:
    models = served(disk)
    first = plans(here(), *models)

    assert first.plan == plans(later(here(), first.remembered), *models).plan

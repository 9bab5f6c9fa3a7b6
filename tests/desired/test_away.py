"""Does a model whose file is not there end nothing but itself, and is it as before once the file is back?"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relayd.config import Config, LoraFile, Model
from relayd.desired.away import away_models, check_files
from relayd.desired.checked import check_models
from relayd.desired.lines import line_spec
from relayd.desired.plans import ModelPlanner, ModelPlans
from relayd.errors import ModelFileError
from relayd.units import MIB
from tests.desired.desk import later, planner, plans, sparse

pytestmark = pytest.mark.system

GPU = "gpu=4090:24,ram=64"
WHY = {"large": "/mnt/large.gguf does not exist, nor does the folder /mnt"}


@pytest.fixture
def small(tmp_path: Path) -> Model:
    return Model(name="small", file=sparse(tmp_path, "qwen3-8b"), slots=1)


@pytest.fixture
def large(tmp_path: Path) -> Model:
    return Model(name="large", file=sparse(tmp_path, "qwen3-30b-a3b"), slots=1)


def without_large(room: ModelPlanner, *models: Model, before: ModelPlans, runs: bool = False) -> ModelPlans:
    """Return the plan while the file of the large model is not there."""
    running = ("large", "small") if runs else ()
    gone = Path(next(one.file for one in models if one.name == "large"))
    gone.rename(gone.with_suffix(".away"))
    found = replace(later(room, before.remembered, running), away=WHY).plans(Config(model=models))
    gone.with_suffix(".away").rename(gone)
    return found


@pytest.mark.parametrize("member", ["file", "projector", "lora", "draft", "template", "vector"])
def test_each_file_of_a_line_is_looked_for(small: Model, tmp_path: Path, member: str) -> None:
    gone = str(tmp_path / "gone")
    wrong: dict[str, Any] = {
        "file": {"file": gone},
        "projector": {"projector": gone},
        "lora": {"lora": (LoraFile(file=gone),)},
        "draft": {"args": ("--model-draft", gone)},
        "template": {"args": ("--chat-template-file", gone)},
        "vector": {"args": ("--control-vector", f"{small.file},{gone}")},
    }
    line = msgspec.structs.replace(small, **wrong[member])

    assert {"small"} == away_models([line]).keys()
    assert f"{gone} does not exist" in away_models([line])["small"]
    with pytest.raises(ModelFileError, match="gone does not exist"):
        check_files(line_spec(line, 0))


def test_files_that_are_there_pass(small: Model, tmp_path: Path) -> None:
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    line = msgspec.structs.replace(small, args=("--chat-template-file", str(tmp_path / "chat.jinja")))

    assert {} == away_models([line])


def test_a_part_of_a_split_model_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "m-00001-of-00002.gguf").write_bytes(b"GGUF")
    line = Model(name="m", file=str(tmp_path / "m-00001-of-00002.gguf"))

    assert "m-00002-of-00002.gguf does not exist" in away_models([line])["m"]


def test_a_path_with_a_zero_byte_ends_nothing() -> None:
    assert "invalid path" in away_models([Model(name="m", file="/a\0.gguf")])["m"]


def test_only_models_that_were_named_are_refused_for_a_missing_file(small: Model) -> None:
    both = Config(model=(small, Model(name="gone", file="/mnt/gone.gguf")))

    check_models(both)
    check_models(both, {"small"})
    with pytest.raises(ModelFileError, match=r"model gone: /mnt/gone\.gguf does not exist"):
        check_models(both, {"gone"})


def test_the_other_models_are_planned_as_beside_it(small: Model, large: Model) -> None:
    room = planner("ram=64")
    before = plans(room, large, small)
    found = without_large(room, large, small, before=before)

    assert ["large#0", "small#0"] == [one.name for one in found.plan]
    assert before.plan[1] == found.plan[1]
    assert dict(WHY) == found.away
    assert f"large is not served: {WHY['large']}" == found.notes[0]


def test_what_was_planned_for_it_is_kept_for_its_return(small: Model, large: Model) -> None:
    room = planner(GPU)
    before = plans(room, large, small)
    found = without_large(room, large, small, before=before)
    back = plans(later(room, found.remembered), large, small)
    kept = {one.model: one for one in found.remembered}

    assert {one.model: one for one in before.remembered} == kept
    assert before.plan == back.plan


def test_it_stands_in_the_plan_as_it_was_placed(small: Model, large: Model) -> None:
    room = planner(GPU)
    before = plans(room, large, small)

    assert before.plan == without_large(room, large, small, before=before).plan


def test_one_that_the_engine_fits_is_adopted_by_the_same_line(small: Model, large: Model) -> None:
    fitted = msgspec.structs.replace(large, fit="engine")
    room = planner("ram=64")
    before = plans(room, fitted, small)
    found = without_large(room, fitted, small, before=before)

    assert before.plan[0].line == found.plan[0].line
    assert before.plan[0].spec == found.plan[0].spec


def test_what_runs_without_its_file_keeps_its_memory(small: Model, large: Model) -> None:
    room = planner("ram=64", host_mib=30 * 1024)
    before = plans(room, large)
    found = without_large(room, large, small, before=before, runs=True)
    host = [one.needs["host"] for one in found.plan]

    assert room.room == found.fleet.before
    assert sum(host) <= 30 * 1024 * MIB
    assert "large runs on, and cannot be started again" in found.notes[0]


def test_one_that_was_never_planned_is_left_to_the_engine_if_it_comes(small: Model, large: Model) -> None:
    found = replace(planner("ram=64"), away=WHY).plans(Config(model=(large, small)))

    assert found.plan[0].spec.fit
    assert {} == found.plan[0].needs
    assert plans(planner("ram=64"), small).plan[0].spec.placement == found.plan[1].spec.placement


def test_a_plan_of_nothing_but_such_models_is_none(large: Model) -> None:
    found = replace(planner("ram=64"), away=WHY).plans(Config(model=(large,)))

    assert ["large#0"] == [one.name for one in found.plan]
    assert ((), ()) == (found.cold, found.remembered)

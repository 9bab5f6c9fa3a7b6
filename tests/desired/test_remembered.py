"""Do plans survive on disk, and does a damaged file of them stop nothing?"""

import json
from pathlib import Path

import msgspec
import pytest

from relayd.config import Model
from relayd.config.schema import Allocation, ReplicaRange
from relayd.desired.remembered import (
    FILE_NAME,
    RememberedModel,
    RememberedReplica,
    key_of,
    read_plans,
    write_plans,
)
from relayd.planner.plan import Basis
from tests.desired.desk import ENGINE
from tests.planner.models import machine

pytestmark = pytest.mark.system

REPLICA = RememberedReplica(
    context=4096,
    slots=2,
    threads=3,
    cache_ram_mib=512,
    placement=Allocation(gpu_layers=7, devices=("CUDA0",), cache_type_k="q8_0"),
    needs={"cuda0": 1 << 33, "host": 1 << 20},
    basis=Basis.CONFIRMED,
)
PLAN = RememberedModel(model="a", key="k", replicas=(REPLICA, REPLICA))

LAST_LANDING = {
    "plans": [
        {
            "model": "a",
            "key": "k",
            "replicas": [
                {
                    "context": 4096,
                    "slots": 2,
                    "threads": 3,
                    "cache_ram_mib": 512,
                    "placement": {"gpu_layers": 7, "devices": ["CUDA0"], "cache_type_k": "q8_0"},
                    "needs": {"cuda0": 1 << 33, "host": 1 << 20},
                    "basis": "confirmed by the engine",
                }
            ],
        }
    ],
    "schema": 1,
}
"""A file as the first relayd that remembered plans wrote it."""


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    assert "" == write_plans(tmp_path, [PLAN])
    assert ({"a": PLAN}, "") == read_plans(tmp_path)


def test_without_a_file_nothing_is_remembered_and_nothing_is_wrong(tmp_path: Path) -> None:
    assert ({}, "") == read_plans(tmp_path)


def test_a_file_of_the_first_layout_is_read(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps(LAST_LANDING))

    found, warning = read_plans(tmp_path)
    assert (REPLICA,) == found["a"].replicas
    assert "" == warning


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "plans": [{"model": 7}]}', "\x00\xff"]
)
def test_a_damaged_file_is_a_warning(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content, "latin-1")

    found, warning = read_plans(tmp_path)
    assert {} == found
    assert "planned anew" in warning


def test_a_file_of_a_later_relayd_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"schema": 99, "plans": {"in": "another shape"}}')

    found, warning = read_plans(tmp_path)
    assert {} == found
    assert "layout 99" in warning


def test_a_file_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()

    assert "cannot be read" in read_plans(tmp_path)[1]


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    assert "plans are not remembered" in write_plans(tmp_path / "missing", [PLAN])


@pytest.mark.parametrize(
    "more",
    [{"slots": 0}, {"context": -5}, {"context": 0}, {"threads": -1}, {"cache_ram_mib": -1},
     {"slots": 1 << 40}, {"needs": {"host": -1}}],
)  # fmt: skip
def test_a_number_that_no_plan_can_have_is_a_warning(tmp_path: Path, more: dict[str, object]) -> None:
    replica = {**msgspec.to_builtins(REPLICA), **more}
    plan = {"model": "a", "key": "k", "replicas": [replica]}
    (tmp_path / FILE_NAME).write_text(json.dumps({"schema": 1, "plans": [plan]}))

    found, warning = read_plans(tmp_path)
    assert {} == found
    assert "planned anew" in warning


@pytest.mark.parametrize(
    "more",
    [
        {"load": "demand"},
        {"idle_minutes": 5},
        {"pin": True},
        {"home": True},
        {"replicas": ReplicaRange(min=1, max=3)},
        {"aliases": ("b",)},
    ],
)
def test_a_plan_holds_however_its_model_is_kept_in_memory(more: dict[str, object]) -> None:
    line = Model(name="a", file="/a.gguf", slots=2)
    before = key_of(line, ENGINE, machine("ram=32"))

    assert before == key_of(msgspec.structs.replace(line, **more), ENGINE, machine("ram=32"))
    assert before != key_of(msgspec.structs.replace(line, slots=3), ENGINE, machine("ram=32"))

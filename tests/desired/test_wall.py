"""Which limit of memory a process gets, and where it gets none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relayd.config import Model
from relayd.config.schema import MemoryBudget
from relayd.desired.wall import MemoryWalls
from relayd.planner import Basis, Planned, ReplicaSpec
from relayd.planner.reserve import allowance
from relayd.units import GIB, MIB, Bytes
from tests.desired.desk import FEATURES, planner, plans, sparse
from tests.planner.models import machine

pytestmark = pytest.mark.pure

WALLS = MemoryWalls(FEATURES, allowance(machine("ram=32"), MemoryBudget()))


def spec(folder: Path, **fields: Any) -> ReplicaSpec:
    return replace(
        ReplicaSpec("m", 0, Path(sparse(folder, "qwen3-4b")), context=4096, cache_ram_mib=0), **fields
    )


def limit(spec: ReplicaSpec) -> int:
    found = WALLS(Planned(spec)).limit
    assert found is not None
    return found


def test_weights_that_are_a_mapped_file_do_not_count_and_others_do(tmp_path: Path) -> None:
    one = spec(tmp_path)

    mapped, loaded = (limit(replace(one, extra_args=("--load-mode", mode))) for mode in ("mmap", "none"))

    assert limit(one) == mapped
    assert loaded > mapped


def test_the_prompt_cache_and_every_slot_count(tmp_path: Path) -> None:
    one = spec(tmp_path)

    assert limit(one) + 1024 * MIB <= limit(replace(one, cache_ram_mib=1024))
    assert limit(one) < limit(replace(one, slots=8))


def test_what_the_engine_needs_beyond_the_prediction_counts(tmp_path: Path) -> None:
    one = spec(tmp_path)

    more = WALLS(Planned(one, {"host": Bytes(30 * GIB)}, Basis.CONFIRMED)).limit

    assert more
    assert more - limit(one) > 10 * GIB


def test_a_planned_model_has_one(tmp_path: Path) -> None:
    (planned,) = plans(planner("ram=32"), Model("m", sparse(tmp_path, "qwen3-4b"))).plan

    assert WALLS(planned).limit


@pytest.mark.parametrize(
    ("walls", "fields", "reason"),
    [
        (MemoryWalls(FEATURES, None), {}, "not planned"),
        (MemoryWalls(FEATURES, allowance(machine("gpu=4090:24,ram=64"), MemoryBudget())), {}, "GPU"),
        (WALLS, {"projector": Path("/p.gguf")}, "projector"),
        (WALLS, {"file": Path("/gone.gguf")}, "cannot read"),
    ],
)
def test_where_honest_work_could_meet_it_there_is_none(
    tmp_path: Path, walls: MemoryWalls, fields: dict[str, Any], reason: str
) -> None:
    found = walls(Planned(spec(tmp_path, **fields)))

    assert None is found.limit
    assert reason in found.reason

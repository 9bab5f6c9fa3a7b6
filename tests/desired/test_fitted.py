"""What is planned for lines whose models the engine fits?"""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from relayd.advice.known import catalogue_header
from relayd.config import Model
from relayd.engine import Engine
from relayd.gguf.writer import write_sparse
from relayd.planner.plan import Basis
from relayd.units import GIB, MIB, show_bytes
from tests.desired.desk import ENGINE, FEATURES, later, planner, plans, sparse
from tests.planner.models import catalogue

GPU = "gpu=4090:24,ram=64"

pytestmark = pytest.mark.system


@pytest.fixture
def small(tmp_path: Path) -> Model:
    return Model(name="small", file=sparse(tmp_path, "qwen3-8b"), slots=1)


@pytest.fixture
def large(tmp_path: Path) -> Model:
    return Model(name="large", file=sparse(tmp_path, "qwen3-30b-a3b"), slots=1)


def test_the_engine_fits_a_line_that_says_so(small: Model) -> None:
    found = plans(planner(GPU), msgspec.structs.replace(small, fit="engine"))
    (one,) = found.plan

    assert one.spec.fit
    assert Basis.PREDICTED is one.basis
    assert {"cuda0", "host"} == one.needs.keys()
    assert () == found.notes


@pytest.mark.parametrize("args", [("-ot", "blk.*=CPU"), ("--no-kv-offload",), ("--swa_full",)])
def test_flags_that_relayd_does_not_plan_leave_a_line_to_the_engine(
    small: Model, args: tuple[str, ...]
) -> None:
    found = plans(planner(GPU), msgspec.structs.replace(small, args=args))

    assert found.plan[0].spec.fit
    assert "small is fitted by the engine" in found.notes[0]


def test_an_engine_that_cannot_be_given_a_placement_fits_by_itself(small: Model) -> None:
    old = Engine(ENGINE.path, ENGINE.source, msgspec.structs.replace(FEATURES, flags=frozenset()))
    found = plans(planner(GPU, old), small)

    assert found.plan[0].spec.fit
    assert "has no --device" in found.notes[0]


def test_a_line_that_the_engine_fits_takes_its_turn_in_the_written_order(small: Model, large: Model) -> None:
    engine = msgspec.structs.replace(large, fit="engine", context=4096)
    room = planner("ram=64", host_mib=21 * 1024)
    first, last = plans(room, small, engine), plans(room, engine, small)

    assert ["large#0"] == [one.name for one in first.cold]
    assert first.plan[1].needs["host"] == first.cold[0].need > 16 << 30
    assert ["small#0"] == [one.name for one in last.cold]


def test_a_line_that_the_engine_fits_is_counted_with_all_that_it_needs(small: Model, large: Model) -> None:
    engine = msgspec.structs.replace(small, fit="engine", context=4096, cache_ram_mib=1024)
    (one, _) = found = plans(planner("ram=64", host_mib=20 * 1024), engine, large).plan

    assert [False, True] == [bool(each.cold) for each in found]
    assert f"{show_bytes(one.needs['host'])} for small#0" in found[1].cold


def test_a_file_that_cannot_be_read_takes_its_turn_too(small: Model, tmp_path: Path) -> None:
    unread = Model(name="unread", file=str(tmp_path / "unread.gguf"), cache_ram_mib=64, replicas=2)
    header = catalogue_header(next(one for one in catalogue() if one.name == "qwen3-8b"), "Q4_K_M")
    values = {"general.architecture": "future"}
    write_sparse(Path(unread.file), replace(header, values=values))
    found = plans(planner("ram=64", host_mib=9 * 1024), small, unread)
    needed = Path(unread.file).stat().st_size

    assert [False, True, True] == [bool(one.cold) for one in found.plan]
    assert [needed, needed] == [one.need for one in found.cold]


def test_what_the_engine_fits_and_runs_keeps_its_place(small: Model) -> None:
    engine = msgspec.structs.replace(small, fit="engine")
    found = plans(later(planner("ram=64", host_mib=2048), (), {"small"}), engine)

    assert not found.plan[0].cold
    assert found.fleet.over


@pytest.mark.parametrize("fit", ["plan", "engine"])
def test_earlier_prompts_get_a_share_of_what_is_left_whoever_fits_the_model(small: Model, fit: str) -> None:
    line = msgspec.structs.replace(small, fit=fit, context=4096, replicas=2)
    other = msgspec.structs.replace(line, name="other", replicas=1)
    found = plans(planner("ram=64", host_mib=20 * 1024), line, other)
    caches = [one.spec.cache_ram_mib for one in found.plan]

    assert () == found.cold
    assert 0 < min(caches)
    assert sum(one.needs["host"] for one in found.plan) <= 20 * GIB
    assert sum(caches) * MIB <= 4 * GIB
    assert sum(caches) * MIB == found.fleet.before.host.usable - found.fleet.left.host.usable - sum(
        one.needs["host"] - one.spec.cache_ram_mib * MIB for one in found.plan
    )


def test_a_small_group_of_an_engine_fitted_model_gets_no_more_prompts_than_it_holds(
    tiny_model: Path,
) -> None:
    line = Model(name="tiny", file=str(tiny_model), fit="engine")
    (one,) = plans(planner("ram=64", host_mib=630), line).plan

    assert one.spec.cache_ram_mib <= 157
    assert not one.cold


def test_what_the_engine_fits_keeps_its_prompt_cache_over_a_restart_and_beside_a_new_line(
    small: Model,
) -> None:
    room = planner("ram=64", host_mib=20 * 1024)
    engine = msgspec.structs.replace(small, fit="engine", context=4096)
    other = msgspec.structs.replace(small, name="other", context=4096)
    first = plans(room, engine, other)
    again = plans(later(room, first.remembered), engine, other)
    added = plans(later(room, first.remembered, {"small"}), engine, other, msgspec.structs.replace(
        other, name="third"
    ))  # fmt: skip

    assert first.plan == again.plan
    assert first.plan[0].spec == added.plan[0].spec

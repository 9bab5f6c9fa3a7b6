"""Is a model on demand confirmed by the engine before its first load, once, and remembered so?"""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from relayd.advice.confirm import predicted
from relayd.config import Model
from relayd.desired.confirming import LoadConfirmation
from relayd.desired.plans import ModelPlanner, ModelPlans
from relayd.desired.remembered import read_plans, write_plans
from relayd.engine import Engine
from relayd.engine.memory import MemoryProbe, Row
from relayd.errors import EngineError
from relayd.gguf import ModelMetadata
from relayd.memory.setup import Setup
from relayd.planner.plan import Basis, Planned
from relayd.units import MIB
from tests.desired.desk import ENGINE, later, planner, plans, sparse

MORE_MIB = 300


class Reporting(MemoryProbe):
    """An engine that reports more than is predicted."""

    def __init__(self) -> None:
        super().__init__(ENGINE, Path("/cache"), {})
        self.asked = 0

    def ask(self, file: Path, model: ModelMetadata, setup: Setup) -> tuple[Row, ...]:
        self.asked += 1
        if not file.is_file():
            raise EngineError("no such file")
        return (Row("host", "Host", predicted(model, setup) // MIB + MORE_MIB, 0, 0),)


@pytest.fixture
def small(tmp_path: Path) -> Model:
    return Model(name="small", file=sparse(tmp_path, "qwen3-8b"), load="demand")


def room() -> ModelPlanner:
    return planner("ram=64", host_mib=20 * 1024)


def confirming(folder: Path, probe: MemoryProbe, engine: Engine = ENGINE) -> LoadConfirmation:
    return LoadConfirmation(engine, probe, room().room, folder)


def planned(folder: Path, small: Model) -> ModelPlans:
    found = plans(room(), small)
    write_plans(folder, found.remembered)
    return found


@pytest.mark.system
def test_what_the_engine_reports_beyond_the_prediction_counts(tmp_path: Path, small: Model) -> None:
    (one,) = planned(tmp_path, small).plan
    found = confirming(tmp_path, Reporting())(one)

    assert Basis.CONFIRMED is found.basis
    assert abs(found.needs["host"] - one.needs["host"] - MORE_MIB * MIB) <= MIB
    assert one.spec == found.spec


@pytest.mark.system
def test_each_size_is_asked_about_once_whatever_replica_it_is_for(tmp_path: Path, small: Model) -> None:
    (one,) = planned(tmp_path, small).plan
    probe = Reporting()
    ask = confirming(tmp_path, probe)
    second = replace(one, spec=replace(one.spec, index=1))

    assert [ask(one).needs] * 3 == [ask(one).needs, ask(second).needs, ask(ask(one)).needs]
    assert 1 == probe.asked
    assert {Basis.CONFIRMED} == {ask(size).basis for size in one.others}
    assert 1 + len(one.others) == probe.asked


@pytest.mark.system
def test_it_is_remembered_for_the_next_daemon(tmp_path: Path, small: Model) -> None:
    (one,) = planned(tmp_path, small).plan
    found = confirming(tmp_path, Reporting())(one)
    remembered, warning = read_plans(tmp_path)
    (again,) = plans(later(room(), remembered.values()), small).plan

    assert "" == warning
    assert (found.needs, Basis.CONFIRMED) == (again.needs, again.basis)
    assert {Basis.PREDICTED} == {size.basis for size in again.others}
    assert one.spec == again.spec


@pytest.mark.system
def test_an_engine_that_cannot_be_asked_leaves_the_prediction(tmp_path: Path, small: Model) -> None:
    (one,) = planned(tmp_path, small).plan
    Path(small.file).unlink()

    assert one == confirming(tmp_path, Reporting())(one)


@pytest.mark.system
def test_what_is_known_better_is_not_asked_about(tmp_path: Path, small: Model) -> None:
    (one,) = planned(tmp_path, small).plan
    probe = Reporting()
    measured = replace(one, basis=Basis.MEASURED)

    assert measured == confirming(tmp_path, probe)(measured)
    assert 0 == probe.asked


@pytest.mark.real
def test_the_engine_itself_confirms_a_model_on_demand(
    tmp_path: Path, tiny_model: Path, engine: Engine
) -> None:
    here = replace(room(), engine=engine)
    (one,) = plans(here, Model(name="tiny", file=str(tiny_model), load="demand")).plan
    probe = MemoryProbe(engine, tmp_path / "cache", os.environ)
    found: Planned = confirming(tmp_path, probe, engine)(one)

    assert Basis.CONFIRMED is found.basis
    assert abs(found.needs["host"] - one.needs["host"]) <= 16 * MIB

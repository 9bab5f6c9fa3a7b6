"""Which plan does a restart follow, and what does it say of it?"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from relayd.daemon.arguments import RestartArguments
from relayd.daemon.report import ReplicasReport
from relayd.desired.state import DesiredState
from relayd.errors import ModelFileError
from relayd.planner import Planned
from tests.daemon.assembled import MODEL, Assembled, desired, with_parts

pytestmark = pytest.mark.system

OTHER = msgspec.structs.replace(MODEL, name="other", aliases=(), replicas=1)


def with_context(state: DesiredState, context: int, cold: str = "") -> DesiredState:
    """Return a state with another context of every replica, some of which have no place."""

    def other(one: Planned) -> Planned:
        reason = "no room" if one.model == cold else ""
        return replace(one, spec=replace(one.spec, context=context), cold=reason)

    return replace(state, plan=tuple(map(other, state.plan)))


def restarted(
    state: DesiredState, target: str | None, cold: str = ""
) -> tuple[ReplicasReport, list[set[str]], dict[str, int]]:
    """Return the report of a restart, which models it planned anew, and each replica's context after it."""
    asked: list[set[str]] = []

    def replan(now: DesiredState, models: Collection[str]) -> DesiredState:
        asked.append(set(models))
        return with_context(now, 512, cold)

    async def story(daemon: Assembled) -> tuple[ReplicasReport, dict[str, int]]:
        daemon.replan = replan
        report = await daemon.operations.restart(RestartArguments(target))
        return report, {one.name: one.spec.context for one in daemon.parts.fleet.plan}

    report, contexts = with_parts(state, story)
    return report, asked, contexts


def test_a_restart_of_a_model_plans_it_anew_by_its_name_or_an_alias(tmp_path: Path) -> None:
    report, asked, _ = restarted(desired(tmp_path, MODEL, OTHER), "nick")

    assert [{"m"}] == asked
    assert {"m#0", "m#1"} == report.replicas.keys()
    assert {"m#0": ["context: 0 → 512"], "m#1": ["context: 0 → 512"]} == report.changed


def test_a_restart_of_all_plans_all_anew(tmp_path: Path) -> None:
    _, asked, contexts = restarted(desired(tmp_path, MODEL, OTHER), None)

    assert [{"m", "other"}] == asked
    assert {"m#0": 512, "m#1": 512, "other#0": 512} == contexts


def test_a_restart_of_one_replica_keeps_the_plan_of_its_model(tmp_path: Path) -> None:
    report, asked, contexts = restarted(desired(tmp_path, MODEL), "m#1")

    assert [] == asked
    assert ({}, {"m#0": 0, "m#1": 0}) == (report.changed, contexts)


def test_what_has_no_place_in_the_new_plan_is_not_started(tmp_path: Path) -> None:
    report, _, _ = restarted(desired(tmp_path, MODEL, OTHER), None, cold="other")

    assert "cold" == report.replicas["other#0"]
    assert {"other#0": "no room"} == report.not_started


def test_where_no_plan_can_be_made_the_earlier_one_is_kept_and_the_reason_named(tmp_path: Path) -> None:
    def refuse(_: DesiredState, __: Collection[str]) -> DesiredState:
        raise ModelFileError("/gone.gguf: there is no such file")

    async def story(daemon: Assembled) -> ReplicasReport:
        daemon.replan = refuse
        return await daemon.operations.restart(RestartArguments("m"))

    report = with_parts(desired(tmp_path, MODEL, OTHER), story)
    assert {"m#0", "m#1"} == report.replicas.keys()
    assert "/gone.gguf" in report.note

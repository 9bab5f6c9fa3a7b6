"""A reload follows another desired state as a whole, or changes nothing."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from relayd.config.schema import Server
from relayd.daemon.report import ReloadReport
from relayd.desired.state import DesiredState
from relayd.errors import ConfigError, DaemonError
from relayd.supervisor import State
from relayd.supervisor.sizing import line_of
from relayd.supervisor.snapshot import Snapshot
from tests.daemon.assembled import MODEL, Assembled, desired, with_parts

pytestmark = pytest.mark.system


def reloaded(
    state: DesiredState, following: DesiredState, *, dry_run: bool = False
) -> tuple[ReloadReport, list[str]]:
    """Return the report of a reload, and the names of the replicas after it."""

    async def story(daemon: Assembled) -> tuple[ReloadReport, list[str]]:
        daemon.refresh = lambda _: following
        report = await (daemon.reload.preview() if dry_run else daemon.reload.run())
        return report, [planned.name for planned in daemon.parts.fleet.plan]

    return with_parts(state, story)


def test_an_edited_alias_changes_no_replica(tmp_path: Path) -> None:
    other = desired(tmp_path, msgspec.structs.replace(MODEL, aliases=("another",)))
    report, _ = reloaded(desired(tmp_path, MODEL), other)

    assert ({}, ["m#0", "m#1"]) == (report.changed, report.unchanged)


def test_a_new_alias_is_known_after_the_reload(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> list[str]:
        other = desired(tmp_path, msgspec.structs.replace(MODEL, aliases=("another",)))
        daemon.refresh = lambda _: other
        before = daemon.parts.view.named("another")
        await daemon.reload.run()
        return [before, daemon.parts.view.named("another")]

    assert ["another", "m"] == with_parts(desired(tmp_path, MODEL), story)


def test_models_are_added_removed_and_changed(tmp_path: Path) -> None:
    new = msgspec.structs.replace(MODEL, name="new", aliases=(), replicas=1)
    changed = msgspec.structs.replace(MODEL, replicas=1, slots=9)
    report, names = reloaded(desired(tmp_path, MODEL), desired(tmp_path, changed, new))

    assert (["new#0"], ["m#1"], {"m#0": ["slots: 4 → 9"]}) == (report.added, report.removed, report.changed)
    assert ["m#0", "new#0"] == names
    assert report.replicas is not None


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    report, names = reloaded(desired(tmp_path, MODEL), desired(tmp_path), dry_run=True)

    assert (["m#0", "m#1"], None) == (report.removed, report.replicas)
    assert ["m#0", "m#1"] == names


def test_settings_that_need_a_new_start_are_told_from_those_that_do_not(tmp_path: Path) -> None:
    state = desired(tmp_path, MODEL)
    following = desired(tmp_path, MODEL, server=Server(listen="127.0.0.1:1"))
    queue = msgspec.structs.replace(following.config.queue, depth=3)
    config = msgspec.structs.replace(following.config, queue=queue)
    report, _ = reloaded(state, replace(following, config=config))
    live = {one.key: one.live for one in report.settings}

    assert {"queue.depth": True, "server.listen": False, "server.api_key": True} == live
    assert "a-key" not in repr(report)


def test_a_configuration_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    def refuse(_given_up: Collection[str]) -> DesiredState:
        raise ConfigError("relay.toml:2: unknown key")

    async def story(daemon: Assembled) -> list[str]:
        daemon.refresh = refuse
        with pytest.raises(ConfigError):
            await daemon.reload.run()
        with pytest.raises(ConfigError):
            await daemon.reload.preview()
        return [planned.name for planned in daemon.parts.fleet.plan]

    assert ["m#0", "m#1"] == with_parts(desired(tmp_path, MODEL), story)


def test_a_reload_plans_what_is_given_up_after_the_others(tmp_path: Path) -> None:
    state = desired(tmp_path, MODEL, msgspec.structs.replace(MODEL, name="other", aliases=()))

    async def story(daemon: Assembled) -> list[Collection[str]]:
        fleet, asked = daemon.parts.fleet, list[Collection[str]]()

        def refresh(given_up: Collection[str]) -> DesiredState:
            asked.append(given_up)
            return state

        daemon.refresh = refresh
        for one in state.plan[:2]:
            fleet.resume({one.name: Snapshot(line_of(one), State.FATAL)})
            await daemon.reload.preview()
        return asked

    assert [set(), {"m"}] == with_parts(state, story)


def test_reloads_at_once_share_a_run(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> int:
        reports = await asyncio.gather(*(daemon.reload.run() for _ in range(20)))
        return len({id(report) for report in reports})

    assert 1 == with_parts(desired(tmp_path, MODEL), story)


def test_a_daemon_that_is_about_to_end_follows_nothing(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> list[str]:
        daemon.refresh = lambda _: desired(tmp_path)
        daemon.shutdown.request(keep_replicas=False)
        with pytest.raises(DaemonError, match="stopping"):
            await daemon.reload.run()
        return [planned.name for planned in daemon.parts.fleet.plan]

    assert ["m#0", "m#1"] == with_parts(desired(tmp_path, MODEL), story)

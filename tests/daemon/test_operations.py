"""What each verb does to the parts of a daemon, and what it answers."""

import os
from pathlib import Path

import msgspec
import pytest

from relayd.daemon.arguments import (
    NoArguments,
    ReloadArguments,
    RestartArguments,
    StopArguments,
    TargetArguments,
    UpgradeArguments,
)
from relayd.daemon.operations import Operations, verbs
from relayd.daemon.report import StoppingReport
from relayd.errors import DaemonError, ModelNotFoundError
from tests.daemon.assembled import MODEL, SERVER, Assembled, desired, with_parts

pytestmark = pytest.mark.system

KEY = SERVER.api_key.reveal()
OTHER = msgspec.structs.replace(MODEL, name="other", aliases=(), replicas=1)


def test_every_public_method_is_a_verb() -> None:
    public = {name for name in dir(Operations) if not name.startswith("_")}

    assert public == {name for _, name in verbs(Operations.__new__(Operations))}


def test_a_start_waits_until_each_replica_has_come_up_or_failed(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> dict[str, str]:
        return (await daemon.operations.start(TargetArguments())).replicas

    assert {"m#0": "fatal", "m#1": "fatal"} == with_parts(desired(tmp_path, MODEL), story)


@pytest.mark.parametrize(
    ("target", "meant"),
    [("m#1", ["m#1"]), ("m", ["m#0", "m#1"]), ("nick", ["m#0", "m#1"]), (None, ["m#0", "m#1", "other#0"])],
)
def test_a_target_is_a_replica_a_model_an_alias_or_all(
    tmp_path: Path, target: str | None, meant: list[str]
) -> None:
    async def story(daemon: Assembled) -> list[str]:
        return list((await daemon.operations.drain(TargetArguments(target))).replicas)

    assert meant == with_parts(desired(tmp_path, MODEL, OTHER), story)


def test_an_unknown_target_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> ModelNotFoundError:
        with pytest.raises(ModelNotFoundError) as refusal:
            await daemon.operations.stop(StopArguments("x"))
        return refusal.value

    error = with_parts(desired(tmp_path, MODEL), story)
    assert "m#0, m#1" in error.remedy


def test_a_stopped_replica_is_stopped_and_not_started_again_by_a_reload(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> tuple[object, str]:
        await daemon.operations.start(TargetArguments())
        stopped = await daemon.operations.stop(StopArguments("m#0"))
        await daemon.operations.reload(ReloadArguments())
        (model,) = (await daemon.operations.status(NoArguments())).models
        return msgspec.to_builtins(stopped), model.replicas[0].state

    assert ({"replicas": {"m#0": "stopped"}}, "stopped") == with_parts(desired(tmp_path, MODEL), story)


def test_stopping_the_daemon_keeps_no_replica_and_refuses_what_would_start_one(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> tuple[object, bool, bool]:
        operations = daemon.operations
        stopping = await operations.stop(StopArguments(all=True))
        for refused in (
            operations.start(TargetArguments()),
            operations.restart(RestartArguments()),
            operations.reload(ReloadArguments()),
            operations.upgrade(UpgradeArguments()),
        ):
            with pytest.raises(DaemonError, match="this daemon is stopping"):
                await refused
        report = await operations.status(NoArguments())
        return stopping, report.stopping, daemon.shutdown.keep_replicas

    assert (StoppingReport(os.getpid()), True, False) == with_parts(desired(tmp_path, MODEL), story)


def test_the_key_is_in_the_configuration_and_nowhere_in_the_status(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> tuple[str, str, bytes]:
        given = await daemon.operations.configuration(NoArguments())
        status = msgspec.json.encode(await daemon.operations.status(NoArguments()))
        assert given.url == daemon.parts.doors.url
        assert ("relay.toml",) == given.sources
        return given.key, given.listen, status

    key, listen, status = with_parts(desired(tmp_path, MODEL), story)
    assert (KEY, "127.0.0.1:0") == (key, listen)
    assert KEY.encode() not in status
    assert b'"keyed":true' in status


def test_the_status_names_what_an_exit_means(tmp_path: Path) -> None:
    async def story(daemon: Assembled) -> tuple[str, str | None]:
        await daemon.operations.start(TargetArguments("m#0"))
        report = await daemon.operations.status(NoArguments())
        last = report.models[0].replicas[0].last_exit
        return report.models[0].replicas[0].state, last.cause if last else None

    assert ("fatal", "could not be started") == with_parts(desired(tmp_path, MODEL), story)

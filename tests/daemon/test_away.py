"""A configured model whose file is not there: the others are served, and it is, once the file is back."""

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import pytest

from relayd.config import Model
from relayd.daemon.arguments import ReloadArguments, TargetArguments
from relayd.daemon.reload import NOT_STARTED, with_what_runs
from relayd.daemon.report import ReloadReport
from relayd.desired.state import DesiredState
from relayd.errors import ModelFileError
from relayd.supervisor import State
from tests.daemon.assembled import MODEL, Assembled, desired, with_parts
from tests.daemon.test_bad_input import request
from tests.daemon.test_faults import ask
from tests.daemons import Daemon, wait_until

SINGLE = Model(name="one", file="/one.gguf")
WHY = "/one.gguf does not exist"
LOOK_OFTEN = "[restart]\nfile_check_seconds = 0.1\n"


@pytest.mark.system
def test_a_start_of_a_model_whose_file_is_away_is_refused_with_the_reason(tmp_path: Path) -> None:
    asked = list[Collection[str]]()

    async def story(daemon: Assembled) -> None:
        def replan(now: DesiredState, models: Collection[str]) -> DesiredState:
            asked.append(models)
            return now

        daemon.replan = replan
        await daemon.operations.start(TargetArguments("one"))

    with pytest.raises(ModelFileError, match=r"one is not started: /one\.gguf does not exist"):
        with_parts(replace(desired(tmp_path, SINGLE), away={"one": WHY}), story)
    assert [{"one"}] == asked


@pytest.mark.system
def test_a_start_plans_a_model_whose_file_is_back(tmp_path: Path) -> None:
    state = replace(desired(tmp_path, SINGLE), away={"one": WHY})

    async def story(daemon: Assembled) -> int:
        def replan(now: DesiredState, _: Collection[str]) -> DesiredState:
            (one,) = now.plan
            return replace(now, plan=(replace(one, spec=replace(one.spec, context=512)),), away={})

        daemon.replan = replan
        await daemon.operations.start(TargetArguments("one"))
        return daemon.parts.fleet.plan[0].spec.context

    assert 512 == with_parts(state, story)


@pytest.mark.system
def test_a_reload_tries_again_what_could_not_be_started(tmp_path: Path) -> None:
    state = desired(tmp_path, SINGLE)

    async def story(daemon: Assembled) -> ReloadReport:
        await daemon.operations.start(TargetArguments("one"))
        report = await daemon.operations.reload(ReloadArguments(dry_run=True))
        assert isinstance(report, ReloadReport)
        return report

    assert {"one#0": [NOT_STARTED]} == with_parts(state, story).changed


@pytest.mark.system
def test_what_runs_keeps_its_plan_while_its_file_is_away(tmp_path: Path) -> None:
    state = desired(tmp_path, MODEL, SINGLE)
    other = tuple(replace(one, spec=replace(one.spec, context=512)) for one in state.plan)

    async def story(daemon: Assembled) -> list[int]:
        replicas = daemon.parts.fleet.select(None)
        replicas[2].stop(0)
        replicas[0].load()
        assert [State.WAITING, State.COLD, State.STOPPED] == [one.state for one in replicas]
        found = with_what_runs(replace(state, plan=other, away={"m": WHY, "one": WHY}), replicas)
        return [one.spec.context for one in found.plan]

    assert [0, 512, 512] == with_parts(state, story)


@pytest.mark.real
def test_a_missing_file_ends_only_its_model_which_is_served_once_it_is_back(
    start_daemon: Callable[..., Daemon], home: Path, tiny_model: Path
) -> None:
    disk, unmounted = home / "disk", home / "unmounted"
    disk.mkdir()
    (disk / "far.gguf").write_bytes(tiny_model.read_bytes())
    near = f'[[model]]\nname = "near"\nfile = "{tiny_model}"\nslots = 1\ncontext = 256\n'
    far = f'[[model]]\nname = "far"\nfile = "{disk / "far.gguf"}"\nslots = 1\ncontext = 256\n'
    disk.rename(unmounted)
    daemon = start_daemon(LOOK_OFTEN + near + far, wait=False)
    daemon.await_event("try")
    why = f"{disk / 'far.gguf'} does not exist, nor does the folder {disk}"
    status, error = request(daemon, b'{"model": "far", "prompt": "x"}')

    assert ask(daemon.url, 3, model="near").done
    assert (503, "model_unavailable") == (status, error["code"])
    assert why in error["message"]
    assert "fatal" == daemon.replicas()["far#0"]["state"]
    assert f"warning: far is not served: {why}" in daemon.stderr
    for command in ("status", "plan", "doctor"):
        shown = " ".join(daemon.run(command).stdout.split())
        assert why in shown or why.replace(" ", "") in shown.replace(" ", ""), command
    refused = daemon.run("start", "far")
    assert 1 == refused.returncode
    assert f"far is not started: {why}" in refused.stderr
    assert "nothing has changed" in daemon.run("reload").stdout

    unmounted.rename(disk)
    wait_until(lambda: daemon.replicas()["far#0"]["state"] == "ready")
    assert ask(daemon.url, 3, model="far").done
    before = daemon.replicas()
    plan = json.loads(daemon.run("plan", "--json").stdout)
    assert plan["complete"]

    disk.rename(unmounted)
    assert "nothing has changed" in daemon.run("reload").stdout
    restarted = daemon.run("restart", "far").stdout
    assert f"far#0 stays ready: {why}" in restarted
    assert before["far#0"]["pid"] == daemon.replicas()["far#0"]["pid"]
    assert ask(daemon.url, 3, model="far").done


@pytest.mark.real
def test_where_no_file_is_there_that_is_said_with_the_remedy(
    start_daemon: Callable[..., Daemon], home: Path
) -> None:
    daemon = start_daemon(f'[[model]]\nname = "far"\nfile = "{home}/disk/far.gguf"\n', wait=False)

    assert "does not exist" in daemon.await_event("nothing_to_serve")["away"]["far"]
    assert "fatal" == daemon.await_event("replica")["state"]
    assert "Bring the file back, and the model is started within" in " ".join(
        daemon.run("status").stdout.split()
    )

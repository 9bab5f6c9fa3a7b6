"""relayd hardware, on this machine."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from relayd.cli.app import app
from relayd.cli.support.terminal import MAIL_COLUMNS
from relayd.engine import Engine


@pytest.fixture
def runner(tmp_path: Path) -> CliRunner:
    """A runner with caches of its own and no engine."""
    homes = {name: str(tmp_path / name) for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME")}
    return CliRunner(env=homes | {"PATH": os.devnull, "LLAMA_SERVER_PATH": "", "COLUMNS": "80"})


@pytest.mark.system
def test_a_measurement_is_shown_and_remembered(runner: CliRunner) -> None:
    before, during, after = (
        json.loads(runner.invoke(app, ["hardware", "--json", *arguments]).stdout)
        for arguments in ((), ("--measure",), ())
    )

    assert 1 == during["schema"]
    assert before["devices"][-1]["bandwidth"] is None
    assert "measured" == during["devices"][-1]["bandwidth"]["basis"]
    assert during["devices"][-1]["bandwidth"] == after["devices"][-1]["bandwidth"]


@pytest.mark.system
def test_without_an_engine_a_note_says_that_it_was_not_asked(runner: CliRunner) -> None:
    shown = runner.invoke(app, ["hardware"])

    assert 0 == shown.exit_code
    assert "The engine was not asked for its devices: no llama-server was found" in shown.output
    assert max(map(len, shown.output.splitlines())) <= MAIL_COLUMNS


@pytest.mark.real
def test_the_engine_is_asked_when_there_is_one(runner: CliRunner, engine: Engine) -> None:
    shown = runner.invoke(app, ["hardware", "--json"], env={"LLAMA_SERVER_PATH": str(engine.path)})
    said = json.loads(shown.stdout)

    assert not any("was not asked" in note for note in said["notes"])
    assert all(device["engine_name"] is not None for device in said["devices"][:-1])

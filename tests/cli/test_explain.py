"""`relayd explain` on a file and on a name, with an engine and without."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from relayd.cli.explain import explain
from relayd.engine import Engine
from relayd.errors import UsageError

pytestmark = pytest.mark.real

app = typer.Typer()
app.command()(explain)


def run(home: Path, *args: str, engine: str = "") -> Result:
    folders = {f"XDG_{name}_HOME": str(home / name) for name in ("DATA", "CACHE", "STATE", "CONFIG")}
    return CliRunner().invoke(app, args, env=folders | {"LLAMA_SERVER_PATH": engine, "PATH": "/nonexistent"})


def test_a_file_is_explained_and_confirmed(engine: Engine, home: Path, slow_model: Path) -> None:
    result = run(
        home, str(slow_model), "--context", "2048", "--slots", "2", "--json", engine=str(engine.path)
    )
    document = json.loads(result.stdout)

    assert document["confirmed"]
    assert [] == [
        cell for cell in document["breakdown"] if cell["predicted_bytes"] >> 20 != cell["confirmed_mib"]
    ]
    assert document["totals"]["cpu"] == sum(term["bytes"] for term in document["terms"])


def test_a_name_of_the_catalogue_is_explained_without_its_file(engine: Engine, home: Path) -> None:
    result = run(home, "qwen3-8b", "--context", "4096", "--slots", "1", engine=str(engine.path))

    assert "0.56" in result.stdout  # GiB of the cache
    assert "ms" not in result.stdout.split()
    assert "equal" in result.stdout
    assert "catalogue" in result.stdout


def test_without_an_engine_the_prediction_stands_alone(home: Path, tiny_model: Path) -> None:
    result = run(home, str(tiny_model))

    assert "Not confirmed: no llama-server was found" in result.stdout
    assert "not asked" in result.stdout


def test_no_probe_asks_nobody(home: Path, tiny_model: Path) -> None:
    result = run(home, str(tiny_model), "--no-probe", "--json")

    assert not json.loads(result.stdout)["confirmed"]


@pytest.mark.parametrize("args", [("no-such-model",), ("qwen3-8b", "--flash-attn", "maybe")])
def test_what_cannot_be_explained_is_a_usage_error(home: Path, args: tuple[str, ...]) -> None:
    assert isinstance(run(home, *args, "--no-probe").exception, UsageError)


def test_another_machines_devices_are_filled_as_the_planner_would(home: Path) -> None:
    result = run(home, "qwen3-8b", "--context", "8192", "--simulate", "gpu=3060:4,ram=16", "--json")
    document = json.loads(result.stdout)

    assert {"cuda0", "cpu"} == set(document["totals"])
    assert (2 << 30) < document["totals"]["cuda0"] < (4 << 30)
    assert not document["confirmed"]
    assert "too much" not in run(home, "qwen3-8b", "--simulate", "gpu=3060:4,ram=16").stdout
    assert "too much" in run(home, "qwen3-8b", "--simulate", "gpu=3060:2,ram=4").stdout


def test_a_limit_of_earlier_prompts_is_named_and_counts_as_no_need(home: Path, tiny_model: Path) -> None:
    plain = json.loads(run(home, str(tiny_model), "--no-probe", "--json").stdout)
    args = (str(tiny_model), "--no-probe", "--cache-ram", "8192")

    assert 100 << 20 > plain["needs"]["cpu"]
    assert plain["needs"] == json.loads(run(home, *args, "--json").stdout)["needs"]
    assert "at most 8.0 GiB more for earlier prompts" in " ".join(run(home, *args).stdout.split())


def test_a_described_machine_is_not_looked_at(
    home: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path
) -> None:
    looked: list[str] = []
    monkeypatch.setattr("relayd.desired.machine.probe", lambda: looked.append("machine"))
    monkeypatch.setattr("relayd.desired.engines.probe", lambda: looked.append("engine"))
    run(home, str(tiny_model), "--no-probe", "--simulate", "gpu=4090:24,ram=64")

    assert [] == looked

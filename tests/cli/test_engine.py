import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from relayd.cli.engine import app
from relayd.engine import EngineShelf, Installed
from relayd.errors import EngineMissing
from relayd.hardware import probe

pytestmark = pytest.mark.fake

HELP = "--port PORT   port to listen"

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*args: str, path: str = "/usr/bin:/bin") -> Result:
        folders = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        empty = {"LLAMA_SERVER_PATH": "", "PATH": path}
        return CliRunner().invoke(app, args, env=folders | empty)

    return run


@pytest.fixture
def shelf(tmp_path: Path) -> EngineShelf:
    """Two engines, the second one current."""
    shelf = EngineShelf(tmp_path / "data/relayd/engines", probe().cpu_key())
    shelf.root.mkdir(parents=True)
    for build in (1, 2):
        with shelf.staging() as staging:
            (staging / "bin").mkdir()
            binary = staging / "bin/llama-server"
            binary.write_text(f"#!/bin/sh\necho '{HELP}'\n")
            binary.chmod(0o755)
            engine = Installed(
                id=f"b{build}-cpu",
                source="build",
                version=f"b{build}",
                build=build,
                backend="cpu",
                cpu=shelf.cpu,
                origin="",
                sha256="",
                installed_at=float(build),
            )
            shelf.add(staging, engine)
    return shelf


def test_the_list_marks_the_current_engine(run: Run, shelf: EngineShelf) -> None:
    assert shelf.current()
    lines = run("list").stdout.splitlines()
    assert ["current", "b2-cpu"] == lines[1].split()[:2]
    assert "b1-cpu" == lines[2].split()[0]


def test_the_list_as_json_has_every_field(run: Run, shelf: EngineShelf) -> None:
    engines = json.loads(run("list", "--json").stdout)
    assert [("b2-cpu", True), ("b1-cpu", False)] == [(one["id"], one["current"]) for one in engines]
    assert str(shelf.root / "b2-cpu/bin/llama-server") == engines[0]["path"]
    assert {"source", "version", "build", "backend", "size_bytes"} <= engines[0].keys()


def test_an_empty_list_says_how_to_install(run: Run) -> None:
    assert "No engine is installed. Install one: relayd engine install\n" == run("list").stdout
    assert [] == json.loads(run("list", "--json").stdout)


def test_the_path_is_that_of_the_current_engine(run: Run, shelf: EngineShelf) -> None:
    path = str(shelf.root / "b2-cpu/bin/llama-server")
    assert f"{path}\n" == run("path").stdout
    expected = {"path": path, "source": "installed", "version": "b2", "build": 2}
    assert expected == json.loads(run("path", "--json").stdout)


def test_without_an_engine_the_path_is_an_error(run: Run, tmp_path: Path) -> None:
    result = run("path", path=str(tmp_path))
    assert isinstance(result.exception, EngineMissing)
    assert "" == result.stdout


def test_a_rollback_prints_the_engine_it_switched_to(run: Run, shelf: EngineShelf) -> None:
    assert f"llama.cpp b1 (cpu): {shelf.root}/b1-cpu/bin/llama-server\n" == run("rollback").stdout
    assert "b2-cpu" == json.loads(run("rollback", "--json").stdout)["id"]


def test_an_engine_that_is_installed_is_not_installed_again(run: Run, shelf: EngineShelf) -> None:
    result = run("install", "--json")
    assert str(shelf.root / "b2-cpu/bin/llama-server") == json.loads(result.stdout)["path"]


def test_help_lists_every_command(run: Run) -> None:
    text = run("--help").stdout
    assert [] == [name for name in ("install", "list", "path", "update", "rollback") if name not in text]

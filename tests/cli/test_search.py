"""relayd search asks a hub and shows what fits this machine; relayd completions prints a shell's script."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from relayd.cli.completions import Shell, completions
from relayd.cli.search import search
from tests.fakes.hub import FakeHub, running_hub

pytestmark = pytest.mark.fake

Run = Callable[..., Result]


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with running_hub() as fake:
        fake.add("maker/tiny-GGUF", **{"tiny-Q8_0": b"x" * 1000})
        yield fake


@pytest.fixture
def run(home: Path, fake: FakeHub) -> Run:
    app = typer.Typer()
    app.command()(search)
    folders = {f"XDG_{name.upper()}_HOME": str(home / name) for name in ("config", "state", "cache", "data")}
    environ = {"HOME": str(home), "HF_ENDPOINT": fake.endpoint, "HF_HOME": str(home / "hf")} | folders
    return lambda *arguments: CliRunner().invoke(app, arguments, env=environ)


def test_what_is_found_is_shown_with_how_it_fits_and_how_to_get_it(run: Run) -> None:
    lines = run("tiny", "gguf").stdout.splitlines()

    assert ["maker/tiny-GGUF", "Q8_0", "1000", "B", "easily"] == lines[1].split()[:5]
    assert "Get one: relayd pull maker/tiny-GGUF" == lines[-1]


def test_json_has_bytes_and_fit(run: Run) -> None:
    (one,) = json.loads(run("tiny", "--json").stdout)

    assert ("maker/tiny-GGUF", 1000, "easily") == (one["repo"], one["bytes"], one["fits"])


def test_nothing_found_is_said(run: Run) -> None:
    result = run("no", "such", "thing")

    assert 0 == result.exit_code
    assert "has no GGUF for 'no such thing'" in result.stdout


@pytest.mark.parametrize("shell", Shell)
def test_each_shell_gets_a_script_that_names_relayd(shell: Shell) -> None:
    app = typer.Typer()
    app.command()(completions)
    script = CliRunner().invoke(app, [shell.value]).stdout

    assert "relayd" in script
    assert "_RELAYD_COMPLETE" in script
    assert "relayd completions" in CliRunner().invoke(app, [shell.value, "--where"]).stdout
    if shell is Shell.BASH:
        assert 0 == subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode

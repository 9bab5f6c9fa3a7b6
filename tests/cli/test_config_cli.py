"""relayd config shows what holds, and where it comes from."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from relayd.cli.config import app
from relayd.errors import ConfigError

pytestmark = pytest.mark.system

Run = Callable[..., Result]
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def run(home: Path) -> Run:
    """Run `relayd config` in a home with a relay.toml."""
    file = home / "config/relayd/relay.toml"
    file.parent.mkdir(parents=True)
    file.write_text(f'[server]\nlisten = "127.0.0.1:9000"\napi_key = "{KEY}"\n[queue]\ndepth = 7\n')
    file.chmod(0o600)
    folders = {f"XDG_{name.upper()}_HOME": str(home / name) for name in ("config", "state", "cache", "data")}
    return lambda *arguments: CliRunner().invoke(app, arguments, env={"HOME": str(home)} | folders)


def test_what_is_set_is_shown_with_its_place_and_the_rest_counted(run: Run, home: Path) -> None:
    shown = run().stdout.splitlines()
    file = home / "config/relayd/relay.toml"

    assert f"# {file}" == shown[0]
    assert f'server.listen = "127.0.0.1:9000"  # {file}:2' in shown
    assert f"queue.depth = 7                   # {file}:5" in shown
    assert shown[-1].endswith("more have their default: relayd config show --all")
    assert len(run("show", "--all").stdout.splitlines()) > 60


def test_no_command_shows_a_key(run: Run) -> None:
    for arguments in ((), ("show", "--all"), ("--json",), ("get", "server.api_key"), ("get", "server")):
        shown = run(*arguments).output
        assert KEY not in shown
        assert "***" in shown


def test_a_value_is_printed_for_scripts(run: Run) -> None:
    assert "127.0.0.1:9000\n" == run("get", "server.listen").stdout
    assert "7\n" == run("get", "queue.depth").stdout
    (one,) = json.loads(run("get", "queue.depth", "--json").stdout)
    assert ("queue.depth", 7) == (one["key"], one["value"])


def test_the_path_is_that_of_the_file_in_use(run: Run, home: Path) -> None:
    assert f"{home / 'config/relayd/relay.toml'}\n" == run("path").stdout
    (home / "config/relayd/relay.toml").unlink()
    result = run("path")
    assert (1, "") == (result.exit_code, result.stdout)
    assert str(home / "config/relayd/relay.toml") in result.stderr


def test_a_file_is_checked_without_a_daemon(run: Run, home: Path) -> None:
    assert run("check").stdout.startswith("ok: ")
    (home / "other.toml").write_text("[server]\nlisten = 1\ndeph = 2\n")
    result = run("check", str(home / "other.toml"))
    assert isinstance(result.exception, ConfigError)
    assert [":2:", ":3:"] == [line.removeprefix(str(home / "other.toml"))[:3]
                              for line in result.exception.message.splitlines()]  # fmt: skip


def test_there_is_no_set_and_the_help_has_the_reason(run: Run) -> None:
    assert "There is no `relayd config set`" in run("show", "--help").stdout

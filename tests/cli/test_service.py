"""What do the commands about the service say and do?"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from relayd.cli.service import app, run_step
from relayd.config.load import SYSTEM_FILE
from relayd.errors import ConfigError, RelaydError, StateError, UsageError
from relayd.service.plan import RunCommand
from tests.service.unitfile import settings

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(SYSTEM_FILE.exists(), reason=f"{SYSTEM_FILE} of this machine would be read"),
]

Relayd = Callable[..., Result]


@pytest.fixture
def relayd(home: Path) -> Relayd:
    variables = dict.fromkeys(
        [f"XDG_{one}_HOME" for one in ("CONFIG", "DATA", "STATE", "CACHE")]
        + ["XDG_RUNTIME_DIR", "RELAYD_RUNTIME_DIR", "RELAYD_CONFIG"]
    )

    def run(*arguments: str) -> Result:
        return CliRunner(env={**variables, "HOME": str(home)}).invoke(app, arguments)

    return run


def configure(home: Path, text: str) -> None:
    file = home / ".config/relayd/relay.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o600)


def refusal(result: Result) -> RelaydError:
    assert isinstance(result.exception, RelaydError), result.output
    return result.exception


def shown(result: Result) -> dict[str, list[str]]:
    assert 0 == result.exit_code, result.output
    return settings(result.output)


def test_show_prints_every_file_with_its_place(relayd: Relayd, home: Path) -> None:
    result = relayd("show", "--user")

    units = home / ".config/systemd/user"
    assert f"==> {units}/relayd.service <==\n# Written by relayd." in result.output
    assert f"==> {units}/relayd.socket <==\n# Written by relayd." in result.output


def test_show_prints_one_file_alone_and_json_has_all(relayd: Relayd) -> None:
    one = relayd("show", "relayd.service", "--user").output
    every = json.loads(relayd("show", "--user", "--json").output)

    assert {"relayd.service", "relayd.socket"} == every.keys()
    assert one == every["relayd.service"]["text"]


def test_an_unknown_file_is_refused_with_the_known_ones(relayd: Relayd) -> None:
    error = refusal(relayd("show", "relayd.timer", "--user"))

    assert isinstance(error, UsageError)
    assert "relayd.service, relayd.socket" in error.remedy


def test_the_unit_follows_the_configuration_its_service_will_read(relayd: Relayd, home: Path) -> None:
    configure(home, '[server]\nlisten = "[::1]:9090"\n[replicas]\ndrain_seconds = 300\n')

    unit = shown(relayd("show", "relayd.service", "--user"))
    socket = shown(relayd("show", "relayd.socket", "--user"))

    assert ["330"] == unit["Service.TimeoutStopSec"]
    assert ["[::1]:9090"] == socket["Socket.ListenStream"]


def test_keys_in_the_environment_file_are_known_when_the_configuration_names_them(
    relayd: Relayd, home: Path
) -> None:
    configure(home, '[server]\nlisten = "0.0.0.0:8080"\napi_key = "${ENV:KEY}"\n')
    assert isinstance(refusal(relayd("show", "--user")), ConfigError)

    (home / ".config/relayd/environment").write_text('# keys\nKEY="a-key-that-is-long-enough-for-relayd"\n')
    result = relayd("show", "--user")

    assert 0 == result.exit_code, result.exception
    assert "a-key-that" not in result.output


@pytest.mark.parametrize("listen", ["localhost:8080", "127.0.0.1:0"])
def test_an_address_that_only_relayd_can_resolve_has_no_socket_unit(
    relayd: Relayd, home: Path, listen: str
) -> None:
    configure(home, f'[server]\nlisten = "{listen}"\n')

    assert ["relayd.service"] == list(json.loads(relayd("show", "--user", "--json").output))


def test_a_configuration_of_ones_own_is_passed_on(relayd: Relayd, home: Path) -> None:
    file = home / "my relay.toml"
    file.write_text('[server]\nlisten = "127.0.0.1:7070"\n')
    file.chmod(0o600)
    arguments = ("--user", "--program", "/opt/relayd/bin/relayd", "--config", str(file))

    unit = shown(relayd("show", "relayd.service", *arguments))

    assert ['/opt/relayd/bin/relayd serve --config "%h/my relay.toml"'] == unit["Service.ExecStart"]
    assert ["127.0.0.1:7070"] == shown(relayd("show", "relayd.socket", *arguments))["Socket.ListenStream"]


def test_the_machines_service_reads_no_ones_own_configuration(relayd: Relayd, home: Path) -> None:
    configure(home, '[server]\nlisten = "127.0.0.1:7070"\n')

    socket = shown(relayd("show", "relayd.socket", "--system"))

    assert ["127.0.0.1:8080"] == socket["Socket.ListenStream"]


def test_a_service_cannot_be_both(relayd: Relayd) -> None:
    assert isinstance(refusal(relayd("show", "--user", "--system")), UsageError)


def test_root_serves_the_machine_and_others_their_session(relayd: Relayd) -> None:
    files = json.loads(relayd("show", "--json").output)

    assert (os.geteuid() == 0) == files["relayd.service"]["path"].startswith("/etc/systemd/system/")


def test_a_dry_run_says_what_it_would_do_and_does_nothing(relayd: Relayd, home: Path) -> None:
    before = sorted(home.rglob("*"))

    lines = relayd("install", "--user", "--dry-run").output.splitlines()

    assert f"would write {home}/.config/systemd/user/relayd.service" == lines[0]
    assert "would run systemctl --user restart relayd.socket relayd.service" == lines[-1]
    assert before == sorted(home.rglob("*"))


def test_without_a_service_manager_nothing_is_written(relayd: Relayd, home: Path) -> None:
    error = refusal(relayd("install", "--user"))

    assert "so nothing was written" in error.message
    assert "--files-only" in error.remedy
    assert not (home / ".config/systemd").exists()


def test_files_only_writes_and_lists_the_rest(relayd: Relayd, home: Path) -> None:
    result = relayd("install", "--user", "--files-only")

    assert 0 == result.exit_code, result.exception
    assert (home / ".config/systemd/user/relayd.service").exists()
    assert "left to you: run systemctl --user daemon-reload" in result.output

    assert "remove" in relayd("uninstall", "--user").output
    assert not (home / ".config/systemd").exists()
    assert "nothing to do\n" == relayd("uninstall", "--user").output


def test_steps_are_told_as_json(relayd: Relayd) -> None:
    plan = json.loads(relayd("install", "--user", "--dry-run", "--json").output)

    assert plan["done"] is False
    assert [] == plan["left"]
    assert plan["steps"][0].startswith("write ")


def test_a_file_of_somebody_else_is_left_alone(relayd: Relayd, home: Path) -> None:
    units = home / ".config/systemd/user"
    units.mkdir(parents=True)
    (units / "relayd.service").write_text("[Service]\n")

    for arguments in (("install", "--user", "--files-only"), ("uninstall", "--user")):
        assert isinstance(refusal(relayd(*arguments)), StateError)
    assert "[Service]\n" == (units / "relayd.service").read_text()


def test_a_program_that_is_not_there_is_refused(relayd: Relayd) -> None:
    error = refusal(relayd("install", "--user", "--program", "/nowhere/relayd"))

    assert "/nowhere/relayd does not exist" == error.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gets as far as this")
def test_a_program_that_the_services_user_cannot_start_is_refused(relayd: Relayd, tmp_path: Path) -> None:
    program = tmp_path / "relayd"
    program.touch(0o755)
    tmp_path.chmod(0o700)

    error = refusal(relayd("install", "--system", "--files-only", "--program", str(program)))

    assert f"could not run {program}" in error.message


def test_only_the_machines_service_can_be_purged(relayd: Relayd) -> None:
    assert isinstance(refusal(relayd("uninstall", "--user", "--purge")), UsageError)


def test_words_of_commands_go_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert 0 == run_step(RunCommand(("sh", "-c", "echo word")))
    assert 3 == run_step(RunCommand(("sh", "-c", "echo why >&2; exit 3")))

    assert ("", "word\nwhy\n") == capfd.readouterr()


def test_a_command_that_may_fail_complains_to_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    assert 3 == run_step(RunCommand(("sh", "-c", "echo why >&2; exit 3"), may_fail=True))

    assert ("", "") == capfd.readouterr()


def test_a_program_that_is_missing_is_named() -> None:
    with pytest.raises(StateError, match="no-such-program cannot be run: No such file"):
        run_step(RunCommand(("no-such-program",)))

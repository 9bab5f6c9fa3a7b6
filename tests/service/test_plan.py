"""What is written and run to make a service, and is all of it undone?"""

from collections.abc import Iterable
from pathlib import Path

import pytest

from relayd.errors import StateError, UsageError
from relayd.service.install import carry_out, closed_to_others, missing_manager, require_manager
from relayd.service.plan import (
    Remove,
    RunCommand,
    ServiceKind,
    Step,
    UnitFolders,
    Write,
    plan_install,
    plan_uninstall,
    rendered,
)
from relayd.service.units import Service
from tests.service.unitfile import service

pytestmark = pytest.mark.system

UID = 1000
RELAYD = ("/opt/relayd/bin/relayd",)


@pytest.fixture
def places(tmp_path: Path) -> UnitFolders:
    return UnitFolders(home=tmp_path / "home", config_home=tmp_path / "home/.config", root=tmp_path / "root")


def install(kind: ServiceKind, one: Service, places: UnitFolders) -> list[str]:
    """Install, and return the commands that were run."""
    return do(plan_install(kind, one, places, UID))


def uninstall(kind: ServiceKind, places: UnitFolders, *, purge: bool = False) -> list[str]:
    return do(plan_uninstall(kind, places, UID, relayd=RELAYD, purge=purge))


def do(steps: Iterable[Step]) -> list[str]:
    commands: list[str] = []

    def run(step: RunCommand) -> int:
        commands.append(" ".join(step.command))
        return 0

    carry_out(steps, run, lambda _: None)
    return commands


def of(kind: ServiceKind, **changes: object) -> Service:
    return service(system=kind.system, **changes)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", ServiceKind)
def test_the_plan_names_every_file_and_changes_none(kind: ServiceKind, places: UnitFolders) -> None:
    steps = plan_install(kind, of(kind), places, UID)

    written = [step.path for step in steps if isinstance(step, Write)]
    assert set(places.files(kind).values()) == set(written)
    assert [] == files_below(places.home.parent)
    assert f"write {written[0]}" == str(steps[0])


@pytest.mark.parametrize("kind", ServiceKind)
def test_uninstalling_leaves_no_file(kind: ServiceKind, places: UnitFolders) -> None:
    install(kind, of(kind), places)
    assert set(places.files(kind).values()) == set(files_below(places.home.parent))
    assert {0o644} == {path.stat().st_mode & 0o777 for path in files_below(places.home.parent)}

    uninstall(kind, places)

    assert [] == files_below(places.home.parent)
    assert not (places.config_home / "systemd").exists()


@pytest.mark.parametrize("kind", ServiceKind)
def test_an_engine_that_the_configuration_names_is_not_installed_again(
    places: UnitFolders, kind: ServiceKind
) -> None:
    commands = install(kind, of(kind, installs_engine=False), places)

    assert commands
    assert not [command for command in commands if command.endswith("engine install")]


def test_the_machine_gets_a_user_an_engine_and_a_socket_before_it_starts(places: UnitFolders) -> None:
    commands = install(ServiceKind.SYSTEM, of(ServiceKind.SYSTEM), places)

    assert [
        f"systemd-sysusers {places.root}/etc/sysusers.d/relayd.conf",
        "systemctl daemon-reload",
        "systemctl enable relayd.socket relayd.service",
        "systemctl restart relayd.socket relayd.service",
    ] == [one for one in commands if not one.startswith("systemd-run")]
    (engine,) = [one for one in commands if one.startswith("systemd-run")]
    assert engine.endswith("--setenv=RELAYD_RUNTIME_DIR=/run/relayd /opt/relayd/bin/relayd engine install")
    assert " --uid=relayd " in engine


def test_a_session_is_asked_by_its_own_manager(places: UnitFolders) -> None:
    assert [
        "systemctl --user daemon-reload",
        "/opt/relayd/bin/relayd engine install",
        "systemctl --user enable relayd.socket relayd.service",
        "systemctl --user restart relayd.socket relayd.service",
    ] == install(ServiceKind.SESSION, of(ServiceKind.SESSION), places)


def test_installing_again_writes_nothing_and_interrupts_nothing(places: UnitFolders) -> None:
    install(ServiceKind.SESSION, of(ServiceKind.SESSION), places)

    steps = plan_install(ServiceKind.SESSION, of(ServiceKind.SESSION), places, UID)

    assert [] == [step for step in steps if isinstance(step, Write)]
    assert "run systemctl --user start relayd.socket relayd.service" == str(steps[-1])


def test_an_address_that_has_no_socket_unit_takes_the_old_one_away(places: UnitFolders) -> None:
    install(ServiceKind.SESSION, of(ServiceKind.SESSION), places)

    steps = plan_install(ServiceKind.SESSION, of(ServiceKind.SESSION, listen=""), places, UID)

    socket = places.config_home / "systemd/user/relayd.socket"
    assert [
        RunCommand(("systemctl", "--user", "disable", "--now", "relayd.socket")),
        Remove(socket),
    ] == steps[:2]
    assert "run systemctl --user restart relayd.service" == str(steps[-1])


@pytest.mark.parametrize(
    ("kind", "domain"), [(ServiceKind.AGENT, f"gui/{UID}"), (ServiceKind.DAEMON, "system")]
)
def test_launchd_is_told_its_domain(kind: ServiceKind, domain: str, places: UnitFolders) -> None:
    commands = install(kind, of(kind), places)

    plist = next(iter(places.files(kind).values()))
    assert [f"launchctl bootout {domain}/dev.relayd", f"launchctl bootstrap {domain} {plist}"] == commands[
        -2:
    ]
    assert commands[-3].endswith("engine install")
    assert ["/opt/relayd/bin/relayd stop --all", f"launchctl bootout {domain}/dev.relayd"] == uninstall(
        kind, places
    )


def test_the_end_takes_the_socket_away_before_the_daemon_and_replicas_last(places: UnitFolders) -> None:
    install(ServiceKind.SYSTEM, of(ServiceKind.SYSTEM), places)

    assert [
        "systemctl disable --now relayd.socket",
        "/opt/relayd/bin/relayd stop --all",
        "systemctl disable --now relayd.service",
        "systemctl kill relayd.service",
        "systemctl clean --what=runtime --what=state --what=cache relayd.service",
        "systemctl daemon-reload",
        "userdel relayd",
    ] == uninstall(ServiceKind.SYSTEM, places, purge=True)


def test_state_stays_unless_it_is_purged(places: UnitFolders) -> None:
    install(ServiceKind.SYSTEM, of(ServiceKind.SYSTEM), places)

    commands = uninstall(ServiceKind.SYSTEM, places)

    assert "systemctl clean --what=runtime relayd.service" in commands
    assert "userdel relayd" not in commands


def test_where_nothing_is_installed_nothing_is_undone(places: UnitFolders) -> None:
    assert [] == plan_uninstall(ServiceKind.SYSTEM, places, UID, relayd=RELAYD)


@pytest.mark.parametrize("kind", ServiceKind)
@pytest.mark.parametrize("text", ["[Unit]\n", None])
def test_what_relayd_did_not_write_stays(kind: ServiceKind, text: str | None, places: UnitFolders) -> None:
    path = next(iter(places.files(kind).values()))
    path.parent.mkdir(parents=True)
    path.write_text(f"{next(iter(rendered(kind, of(kind)).values()))}# mine\n" if text is None else text)
    before = path.read_text()

    with pytest.raises(StateError) as refused:
        install(kind, of(kind), places)
    with pytest.raises(StateError):
        uninstall(kind, places)

    assert str(path) in refused.value.message
    assert before == path.read_text()


def test_a_command_that_fails_ends_the_installation_and_says_which(places: UnitFolders) -> None:
    steps = plan_install(ServiceKind.SYSTEM, of(ServiceKind.SYSTEM), places, UID)

    with pytest.raises(StateError) as failed:
        carry_out(steps, lambda step: int("enable" in step.command), lambda _: None)

    assert "`systemctl enable relayd.socket relayd.service` failed with exit status 1" == failed.value.message
    assert "uninstall" in failed.value.remedy


def test_commands_that_find_nothing_left_to_do_may_fail(places: UnitFolders) -> None:
    install(ServiceKind.SYSTEM, of(ServiceKind.SYSTEM), places)
    steps = plan_uninstall(ServiceKind.SYSTEM, places, UID, relayd=RELAYD)

    carry_out(steps, lambda step: int(step.may_fail), lambda _: None)

    assert [] == files_below(places.root)


def test_a_folder_that_cannot_be_made_is_named(places: UnitFolders) -> None:
    places.home.write_text("a file")

    with pytest.raises(StateError) as failed:
        install(ServiceKind.SESSION, of(ServiceKind.SESSION), places)

    assert str(places.home) in failed.value.message


def test_the_way_to_a_program_must_be_open_to_the_services_user(tmp_path: Path) -> None:
    closed, program = tmp_path / "closed", tmp_path / "closed/relayd"
    closed.mkdir(mode=0o700)
    program.touch(0o755)

    assert closed_to_others(Path("/bin/sh").resolve()) is None
    assert closed_to_others(program) in (closed, *closed.parents)


def test_a_machine_without_a_manager_is_recognised(tmp_path: Path) -> None:
    assert "systemd does not run this machine" == missing_manager(ServiceKind.SYSTEM, {}, tmp_path)
    assert "this system has no launchd: it is not macOS" == missing_manager(ServiceKind.AGENT, {}, tmp_path)
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert "" == missing_manager(ServiceKind.SYSTEM, {}, tmp_path)
    assert "this user has no systemd session" == missing_manager(ServiceKind.SESSION, {}, tmp_path)
    (tmp_path / "mine/systemd").mkdir(parents=True)
    assert "" == missing_manager(ServiceKind.SESSION, {"XDG_RUNTIME_DIR": str(tmp_path / "mine")}, tmp_path)


def test_without_a_manager_the_way_out_is_named() -> None:
    with pytest.raises(UsageError) as refused:
        require_manager(ServiceKind.SESSION, {})

    assert "--files-only" in refused.value.remedy

"""Is a service told from a shell, and what does it allow?"""

from pathlib import Path

import pytest

from relayd.service import managed

pytestmark = pytest.mark.system

NOTIFIED = {"NOTIFY_SOCKET": "/run/systemd/notify"}
USER_GROUP = "/user.slice/user-1000.slice/user@1000.service/app.slice/relayd.service"


def machine(root: Path, group: str, hierarchy: str = "0:", **limits: str) -> Path:
    """Make a machine whose process is in a control group with these limits."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"4:memory:/elsewhere\n{hierarchy}:{group}\n")
    folder = root / "sys/fs/cgroup" / group.removeprefix("/")
    folder.mkdir(parents=True)
    for name, text in limits.items():
        (folder / name.replace("_", ".")).write_text(f"{text}\n")
    return root


def test_a_unit_of_the_machine_is_told_with_its_limits(tmp_path: Path) -> None:
    root = machine(tmp_path, "/system.slice/relayd.service", pids_max="4915", memory_max="max")
    found = managed(NOTIFIED | {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 7, root)

    assert found
    assert ("systemd", "relayd.service") == (found.manager, found.name)
    assert "journalctl -u relayd.service" == found.journal
    assert (4915, None, 30) == (found.tasks, found.memory, found.watchdog_seconds)
    assert found.open_files > 0


@pytest.mark.parametrize("hierarchy", ["0:", "1:name=systemd"])
def test_a_unit_of_a_session_has_its_own_journal(tmp_path: Path, hierarchy: str) -> None:
    found = managed(NOTIFIED, 7, machine(tmp_path, USER_GROUP, hierarchy, memory_max="1073741824"))

    assert found
    assert "journalctl --user -u relayd.service" == found.journal
    assert (None, 1 << 30) == (found.tasks, found.memory)


@pytest.mark.parametrize("group", ["/user.slice/user-0.slice/session-2.scope", "/"])
def test_what_was_typed_in_a_shell_is_no_service(tmp_path: Path, group: str) -> None:
    assert managed(NOTIFIED, 7, machine(tmp_path, group)) is None


def test_a_shell_that_a_service_started_is_no_service(tmp_path: Path) -> None:
    assert managed({"INVOCATION_ID": "f" * 32}, 7, machine(tmp_path, "/system.slice/cron.service")) is None


def test_a_machine_without_control_groups_has_no_service(tmp_path: Path) -> None:
    assert managed(NOTIFIED, 7, tmp_path) is None


def test_a_job_of_launchd_is_told_by_its_label(tmp_path: Path) -> None:
    found = managed({"XPC_SERVICE_NAME": "dev.relayd"}, 7, tmp_path)

    assert found
    assert ("launchd", "dev.relayd", "") == (found.manager, found.name, found.journal)
    assert managed({"XPC_SERVICE_NAME": "0"}, 7, tmp_path) is None

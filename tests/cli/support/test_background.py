"""Is a service that is installed started, instead of a daemon beside it?"""

from pathlib import Path

import pytest

from relayd.cli.support.background import service_command
from relayd.service.plan import ServiceKind, UnitFolders

pytestmark = pytest.mark.fake


@pytest.fixture
def folders(tmp_path: Path) -> UnitFolders:
    return UnitFolders(home=tmp_path, config_home=tmp_path / "config")


def test_without_a_service_nothing_is_started(folders: UnitFolders, tmp_path: Path) -> None:
    assert () == service_command(folders, {"XDG_RUNTIME_DIR": str(tmp_path)})


def test_a_service_without_its_manager_is_not_started(folders: UnitFolders) -> None:
    unit = folders.files(ServiceKind.SESSION)["relayd.service"]
    unit.parent.mkdir(parents=True)
    unit.touch()

    assert () == service_command(folders, {})


def test_the_service_of_the_session_is_started_by_systemd(folders: UnitFolders, tmp_path: Path) -> None:
    unit = folders.files(ServiceKind.SESSION)["relayd.service"]
    unit.parent.mkdir(parents=True)
    unit.touch()
    (tmp_path / "systemd").mkdir()
    (tmp_path / "run/systemd/system").mkdir(parents=True)

    assert ("systemctl", "--user", "start", "relayd.service") == service_command(
        folders, {"XDG_RUNTIME_DIR": str(tmp_path)}, tmp_path
    )

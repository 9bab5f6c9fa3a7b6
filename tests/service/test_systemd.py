"""What does systemd itself say of the units?"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relayd.service.units import systemd_service, systemd_socket
from tests.service.unitfile import service

ANALYZE = shutil.which("systemd-analyze")
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        ANALYZE is None, reason="systemd-analyze is not installed (Debian: apt install systemd)"
    ),
]

NEWER = re.compile(r".*Unknown key(?: name)? 'Restart(?:Steps|MaxDelaySec)'.*ignoring\.?")
"""Keys of systemd 254; older ones say that they leave them out."""

TOLERATED_EXPOSURE = 2.0
"""From 0 to 10. Network, GPUs, their compilers and model files in homes account for 1.7 on systemd 252."""


def analyze(*arguments: str, runtime: Path = Path("/run")) -> subprocess.CompletedProcess[str]:
    assert ANALYZE
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/", "XDG_RUNTIME_DIR": str(runtime)}
    return subprocess.run(
        [ANALYZE, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environ,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def write_units(folder: Path, *, system: bool) -> list[str]:
    # A program that exists, for the check looks at it.
    one = service(system=system, command=(sys.executable, "serve", "--config", "/srv/my models/100%.toml"))
    units = {"relayd.service": systemd_service(one), "relayd.socket": systemd_socket(one)}
    for name, text in units.items():
        (folder / name).write_text(text)
    return [str(folder / name) for name in units]


@pytest.mark.parametrize("system", [True, False])
def test_s79_systemd_finds_nothing_to_say(tmp_path: Path, system: bool) -> None:
    units = write_units(tmp_path, system=system)

    result = analyze("verify", "--man=no", *([] if system else ["--user"]), *units, runtime=tmp_path)

    said = [line for line in result.stderr.splitlines() if "relayd" in line and not NEWER.match(line)]
    assert [] == said
    assert 0 == result.returncode, result.stderr


def test_the_machines_unit_exposes_little(tmp_path: Path) -> None:
    unit, _ = write_units(tmp_path, system=True)

    result = analyze("security", "--offline=yes", "--threshold=100", "--no-pager", unit)

    found = re.search(r"Overall exposure level for relayd\.service: ([0-9.]+)", result.stdout)
    assert found, result.stdout + result.stderr
    assert float(found[1]) <= TOLERATED_EXPOSURE, result.stdout


def test_gpus_are_the_only_devices_let_in(tmp_path: Path) -> None:
    unit, _ = write_units(tmp_path, system=True)

    result = analyze("security", "--offline=yes", "--threshold=100", "--json=short", unit)

    rows = {row["json_field"]: row for row in json.loads(result.stdout)}
    assert not rows["PrivateDevices"]["set"]
    assert "char-nvidia*:rw" in rows["DeviceAllow"]["description"]

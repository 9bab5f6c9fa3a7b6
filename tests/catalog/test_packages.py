"""Does every way to install relayd bring the catalogue along?"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
FILES = ("pyproject.toml", "README.md", "LICENSE", "relay.toml.example")

COUNT = """
from pathlib import Path
from relayd.catalog import Folders, load_catalog, shipped_folder
nothing = Path("nothing")
print(shipped_folder())
print(len(load_catalog(Folders(shipped_folder(), nothing, nothing))))
"""


def python(*arguments: str, executable: Path = Path(sys.executable), cwd: Path, **environ: str) -> str:
    done = subprocess.run(
        [executable, *arguments],
        cwd=cwd,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INDEX": "1"} | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def wheel(source: Path, kind: str, target: Path) -> Path:
    """Build with the backend itself: what pip does, without its download of the backend."""
    target.mkdir()
    python("-c", f"import hatchling.build as b; b.build_{kind}({str(target)!r})", cwd=source)
    (built,) = target.iterdir()
    return built


def shipped(installed: Path, tmp_path: Path) -> tuple[Path, int]:
    """Install into an empty environment; return where the catalogue is there and how many models it has."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    there = home / "bin" / "python"
    python("-m", "pip", "--python", str(there), "install", "--no-deps", str(installed), cwd=tmp_path)
    libraries = sysconfig.get_path("purelib")
    folder, count = python("-c", COUNT, executable=there, cwd=tmp_path, PYTHONPATH=libraries).split()
    return Path(folder), int(count)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what a build reads."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for folder in ("relayd", "catalog"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def models() -> int:
    return sum(path.read_text("utf-8").count("[[models]]") for path in (ROOT / "catalog").glob("*.toml"))


def test_a_wheel_holds_the_catalogue(checkout: Path, tmp_path: Path, models: int) -> None:
    folder, count = shipped(wheel(checkout, "wheel", tmp_path / "dist"), tmp_path)
    assert ("_catalog", models) == (folder.name, count)
    assert folder.is_relative_to(tmp_path / "environment")


def test_a_wheel_made_from_the_source_archive_holds_it_too(
    checkout: Path, tmp_path: Path, models: int
) -> None:
    archive = wheel(checkout, "sdist", tmp_path / "sdist")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    folder, count = shipped(wheel(source, "wheel", tmp_path / "dist"), tmp_path)
    assert ("_catalog", models) == (folder.name, count)


def test_an_editable_install_reads_the_checkout(checkout: Path, tmp_path: Path, models: int) -> None:
    folder, count = shipped(wheel(checkout, "editable", tmp_path / "dist"), tmp_path)
    assert (checkout / "catalog", models) == (folder, count)

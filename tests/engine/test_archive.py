import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.engine.archive import gather, unpack
from relayd.errors import EngineError

pytestmark = pytest.mark.system


def _member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def _tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def _zip(path: Path, *members: tuple[str, bytes, int]) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            packed.writestr(info, content)
    return path


def _tar_release(folder: Path) -> Path:
    return _tar(
        folder / "llama.tar.gz",
        _member("llama-b1", type=tarfile.DIRTYPE),
        _member("llama-b1/llama-server", b"program", mode=0o4777, uid=1234),
        _member("llama-b1/libggml.so.0", b"library", mode=0o600),
        _member("llama-b1/libggml.so", type=tarfile.SYMTYPE, linkname="libggml.so.0"),
    )


def _zip_release(folder: Path) -> Path:
    return _zip(
        folder / "llama.zip",
        ("llama-b1/llama-server", b"program", 0o104777),
        ("llama-b1/libggml.so.0", b"library", 0o100600),
        ("llama-b1/libggml.so", b"libggml.so.0", 0o120777),
    )


@pytest.mark.parametrize("make", [_tar_release, _zip_release])
def test_files_links_and_modes_of_a_release_arrive(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    unpack(make(tmp_path), tmp_path / "out")

    folder = tmp_path / "out/llama-b1"
    assert b"program" == (folder / "llama-server").read_bytes()
    assert 0o755 == (folder / "llama-server").stat().st_mode & 0o7777
    assert 0o644 == (folder / "libggml.so.0").stat().st_mode & 0o7777
    assert Path("libggml.so.0") == (folder / "libggml.so").readlink()


HOSTILE = {
    "an absolute name": [_member("/tmp/evil", b"x")],
    "a name that climbs out": [_member("a/../../evil", b"x")],
    "a name that only climbs": [_member("../evil", b"x")],
    "a backslash": [_member("..\\evil", b"x")],
    "an absolute link": [_member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
    "a link that climbs out": [_member("a/link", type=tarfile.SYMTYPE, linkname="../../evil")],
    "a hard link": [_member("link", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
    "a device": [_member("null", type=tarfile.CHRTYPE)],
    "a pipe": [_member("pipe", type=tarfile.FIFOTYPE)],
    "a file written over a link": [
        _member("link", type=tarfile.SYMTYPE, linkname="other"),
        _member("link", b"x"),
    ],
    "a link that leads outside by way of another": [
        _member("a/b/up", type=tarfile.SYMTYPE, linkname="../.."),
        _member("out", type=tarfile.SYMTYPE, linkname="a/b/up/.."),
    ],
    "a folder made through two links": [
        _member("a/b/up", type=tarfile.SYMTYPE, linkname="../.."),
        _member("out", type=tarfile.SYMTYPE, linkname="a/b/up/.."),
        _member("out/evil", type=tarfile.DIRTYPE),
    ],
    "a file in a folder made through two links": [
        _member("a/b/up", type=tarfile.SYMTYPE, linkname="../.."),
        _member("out", type=tarfile.SYMTYPE, linkname="a/b/up/.."),
        _member("out/evil/file", b"x"),
    ],
    "one name twice": [_member("file", b"x"), _member("file", b"y")],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_could_reach_outside_is_refused(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    (tmp_path / "out").mkdir()
    archive = _tar(tmp_path / "a.tar.gz", *members)

    with pytest.raises(EngineError):
        unpack(archive, tmp_path / "out/deep")

    assert [] == list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil"])
def test_a_zip_is_no_way_around(tmp_path: Path, name: str) -> None:
    with pytest.raises(EngineError, match="leads outside"):
        unpack(_zip(tmp_path / "a.zip", (name, b"x", 0o100644)), tmp_path / "out")


def test_a_link_in_a_zip_cannot_lead_outside(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="'/etc' leads outside"):
        unpack(_zip(tmp_path / "a.zip", ("link", b"/etc", 0o120777)), tmp_path / "out")


def test_a_folder_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/here").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EngineError, match="through a link"):
        unpack(_tar(tmp_path / "a.tar.gz", _member("here/file", b"x")), tmp_path / "out")
    assert [] == list((tmp_path / "elsewhere").iterdir())


def test_a_bomb_is_stopped_at_the_limit(tmp_path: Path) -> None:
    archive = _tar(tmp_path / "a.tar.gz", _member("one", bytes(600)), _member("two", bytes(600)))
    with pytest.raises(EngineError, match=r"unpacks to more than 1\.0 KiB"):
        unpack(archive, tmp_path / "out", max_bytes=1024)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00damaged"])
def test_a_damaged_archive_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EngineError, match=name):
        unpack(tmp_path / name, tmp_path / "out")


def test_an_archive_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    whole = _tar_release(tmp_path).read_bytes()
    (tmp_path / "half.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EngineError, match=r"half\.tar\.gz"):
        unpack(tmp_path / "half.tar.gz", tmp_path / "out")


def test_the_files_beside_the_program_are_gathered(tmp_path: Path) -> None:
    unpack(_tar_release(tmp_path), tmp_path / "out")
    gather(tmp_path / "out", "llama-server", tmp_path / "bin")
    expected = ["libggml.so", "libggml.so.0", "llama-server"]
    assert expected == sorted(path.name for path in (tmp_path / "bin").iterdir())


def test_an_archive_without_the_program_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(EngineError, match="holds no llama-server"):
        gather(tmp_path / "out", "llama-server", tmp_path / "bin")

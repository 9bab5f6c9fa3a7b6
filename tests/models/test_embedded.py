import os
import zipfile
from pathlib import Path

import pytest

from relayd.errors import ModelFileError, NoSpaceError, StateError
from relayd.models.embedded import extract, find_embedded
from tests.llamafiles import APE, make_llamafile

pytestmark = pytest.mark.system

MODEL = b"GGUF" + bytes(range(256)) * 4096


def test_the_model_of_a_llamafile_comes_before_its_projector(tmp_path: Path) -> None:
    files = {"dir/mmproj-a.gguf": b"GGUF" * 3, "small.gguf": b"GGUF", "a.gguf": MODEL, "readme.txt": b"hello"}
    file = make_llamafile(tmp_path / "a.llamafile", files)
    model, *others = find_embedded(file)
    assert ("a.gguf", len(MODEL)) == (model.name, model.bytes)
    assert MODEL == file.read_bytes()[model.offset : model.offset + model.bytes]
    assert ["mmproj-a.gguf"] == [one.name for one in others]


def test_a_model_comes_out_byte_for_byte_and_progress_is_told(tmp_path: Path) -> None:
    file = make_llamafile(tmp_path / "a.llamafile", {"a.gguf": MODEL})
    told: list[tuple[int, int]] = []
    extract(file, find_embedded(file)[0], tmp_path / "a.gguf", lambda done, total: told.append((done, total)))
    assert MODEL == (tmp_path / "a.gguf").read_bytes()
    assert (len(MODEL), len(MODEL)) == told[-1]
    assert {"a.llamafile", "a.gguf"} == {path.name for path in tmp_path.iterdir()}


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system to copy from")
def test_a_model_comes_out_of_another_file_system(tmp_path: Path) -> None:
    file = make_llamafile(Path("/dev/shm") / f"relayd-{os.getpid()}.llamafile", {"a.gguf": MODEL})
    try:
        extract(file, find_embedded(file)[0], tmp_path / "a.gguf", lambda *_: None)
    finally:
        file.unlink()
    assert MODEL == (tmp_path / "a.gguf").read_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGUF",
        APE,
        APE + b"PK\5\6" + bytes(18),
        APE + b"PK\5\6" + b"\xff" * 18,
        APE + b"PK\6\7" + b"\xff" * 16 + b"PK\5\6" + b"\xff" * 16 + b"\0\0",
    ],
)
def test_what_is_no_llamafile_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "a.llamafile"
    file.write_bytes(data)
    with pytest.raises(ModelFileError):
        find_embedded(file)


@pytest.mark.parametrize("at", range(0, 400, 7))
def test_a_llamafile_with_a_damaged_archive_never_ends_otherwise(tmp_path: Path, at: int) -> None:
    file = make_llamafile(tmp_path / "a.llamafile", {"a.gguf": b"GGUF" * 30, "b.gguf": b"GGUF"})
    data = bytearray(file.read_bytes())
    data[len(APE) + at % (len(data) - len(APE))] ^= 0xFF
    file.write_bytes(data)
    try:
        assert find_embedded(file)
    except ModelFileError:
        return


def test_a_packed_model_is_refused(tmp_path: Path) -> None:
    file = make_llamafile(tmp_path / "a.llamafile", {"a.gguf": MODEL}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelFileError, match="no GGUF file inside"):
        find_embedded(file)


def test_a_llamafile_that_shrinks_leaves_nothing(tmp_path: Path) -> None:
    file = make_llamafile(tmp_path / "a.llamafile", {"a.gguf": MODEL})
    (model,) = find_embedded(file)
    os.truncate(file, model.offset + 1000)
    with pytest.raises(StateError, match="became shorter"):
        extract(file, model, tmp_path / "a.gguf", lambda *_: None)
    assert [file] == list(tmp_path.iterdir())


def test_a_model_larger_than_the_disk_stays_inside(tmp_path: Path) -> None:
    file = make_llamafile(tmp_path / "a.llamafile", {"a.gguf": MODEL})
    (model,) = find_embedded(file)
    huge = type(model)(model.name, model.offset, 1 << 60)
    with pytest.raises(NoSpaceError, match=r"a\.gguf needs"):
        extract(file, huge, tmp_path / "a.gguf", lambda *_: None)

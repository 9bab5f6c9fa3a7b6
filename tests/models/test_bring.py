import shutil
from pathlib import Path

import pytest

from relayd.clock import SystemClock
from relayd.errors import ModelFileError, UsageError
from relayd.models.bring import bring, servable
from relayd.models.shelf import ModelShelf
from relayd.models.stores import StoreFolders, scan
from relayd.models.verify import Verification, verify
from tests.fakes.hub import sha256
from tests.llamafiles import make_llamafile

pytestmark = pytest.mark.system


def quietly(name: str, done: int, total: int | None) -> None:
    """Show nothing."""


@pytest.fixture
def shelf(tmp_path: Path) -> ModelShelf:
    return ModelShelf(tmp_path / "models")


@pytest.fixture
def llamafile(tmp_path: Path, tiny_model: Path) -> Path:
    return make_llamafile(tmp_path / "tiny.Q8_0.llamafile", {"inside.gguf": tiny_model.read_bytes()})


def listed(shelf: ModelShelf, *folders: Path) -> list[tuple[str, bool]]:
    return [(one.name, one.embedded) for one in scan(StoreFolders(own=shelf.root, folders=folders))]


def test_a_gguf_is_taken_in_where_it_lies(shelf: ModelShelf, tmp_path: Path, tiny_model: Path) -> None:
    file = tmp_path / "mine-Q8_0.gguf"
    shutil.copy(tiny_model, file)
    record = bring(file, shelf, SystemClock(), quietly)
    assert ("mine-Q8_0", "imported", str(file)) == (record.name, record.kind, record.parts[0].path)
    assert [("mine-Q8_0", False)] == listed(shelf)
    assert 0 == shelf.remove(record)
    assert file.exists()


def test_the_model_in_a_llamafile_is_taken_out_once_and_served(shelf: ModelShelf, llamafile: Path) -> None:
    folder = llamafile.parent
    (found,) = scan(StoreFolders(own=shelf.root, folders=(folder,)))
    path = servable(found, shelf, SystemClock(), quietly)
    before = path.stat()
    assert path == servable(found, shelf, SystemClock(), quietly)
    assert before == path.stat()
    assert [("tiny.Q8_0", False)] == listed(shelf)
    shelf.remove(shelf.records()[0])
    assert [] == listed(shelf)
    assert llamafile.exists()


def test_a_llamafile_whose_model_is_out_is_not_listed_beside_it(shelf: ModelShelf, llamafile: Path) -> None:
    bring(llamafile, shelf, SystemClock(), quietly)
    outside = llamafile.parent / "files"
    outside.mkdir()
    (outside / llamafile.name).symlink_to(llamafile)
    assert [("tiny.Q8_0", False)] == listed(shelf, outside)


def test_what_is_no_model_is_not_taken_in(shelf: ModelShelf, tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(ModelFileError):
        bring(file, shelf, SystemClock(), quietly)
    inside = make_llamafile(tmp_path / "x.llamafile", {"x.gguf": b"GGUF" + bytes(50)})
    with pytest.raises(ModelFileError):
        bring(inside, shelf, SystemClock(), quietly)
    assert ([], []) == (shelf.records(), [file for file in shelf.root.rglob("*") if file.is_file()])


def test_a_file_that_is_in_the_way_is_not_overwritten(shelf: ModelShelf, llamafile: Path) -> None:
    shelf.make()
    (shelf.root / "tiny.Q8_0.gguf").write_text("mine")
    with pytest.raises(UsageError, match="from elsewhere"):
        bring(llamafile, shelf, SystemClock(), quietly)


def test_r57_bytes_are_compared_with_what_was_promised(
    shelf: ModelShelf, llamafile: Path, tiny_model: Path
) -> None:
    record = bring(llamafile, shelf, SystemClock(), quietly)
    (found,) = scan(StoreFolders(own=shelf.root))
    assert Verification("tiny.Q8_0", "ok") == verify(found, quietly)

    path = Path(record.parts[0].path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    verdict = verify(found, quietly)
    assert "damaged" == verdict.outcome
    assert sha256(bytes(data)) in verdict.problems[0]
    assert sha256(tiny_model.read_bytes()) in verdict.problems[0]

    path.unlink()
    assert "damaged" == verify(found, quietly).outcome


def test_a_model_without_a_promise_is_neither_right_nor_wrong(shelf: ModelShelf, tiny_model: Path) -> None:
    bring(tiny_model, shelf, SystemClock(), quietly)
    (found,) = scan(StoreFolders(own=shelf.root))
    assert Verification("tiny", "unknown") == verify(found, quietly)

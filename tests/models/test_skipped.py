"""Files in folders of models that are none to serve: each named with what it is, and nothing ends on one."""

import os
from pathlib import Path

import pytest

from relayd.advice.files import find_files
from relayd.advice.pick import pick
from relayd.desired.judged import judge
from relayd.desired.whole import FILE_NAME, whole_models
from relayd.errors import ModelFileError, UsageError
from relayd.models.bring import bring
from relayd.models.ondisk import find_on_disk, identified
from relayd.models.shelf import ModelShelf
from relayd.models.skipped import LISTED, NAMED, Skipped, lines_of, warning_of
from relayd.models.stores import StoreFolders, scan
from tests.advice.test_pick import FEATURES
from tests.fuzz.models import fuzz
from tests.ggufs import TINY, make_model
from tests.junk import HEADERS, KINDS, fill
from tests.models.desk import Fixed
from tests.planner.models import room

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def junk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of junk with one good model in it."""
    folder = fill(tmp_path_factory.mktemp("junk"))
    make_model(folder / "good.gguf", TINY)
    return folder


def looked(folder: Path) -> tuple[list[str], dict[str, str]]:
    skipped: list[Skipped] = []
    found = scan(StoreFolders(folder / "own", folders=(folder,)), skipped.append)
    return [one.name for one in found], {one.path.stem: str(one) for one in skipped}


def test_a_scan_names_what_is_no_model_and_goes_on(junk: Path) -> None:
    names, said = looked(junk)
    assert {"good", "cut", "promises", "huge"} == {*names}
    for stem, (_, words) in KINDS.items():
        assert words in said[stem]
    assert {"pipe", "gone", "loop", "null", "no-blocks"} <= {*said}


def test_what_a_scan_cannot_see_is_skipped_when_headers_are_read(junk: Path) -> None:
    skipped: list[Skipped] = []
    found = scan(StoreFolders(junk / "own", folders=(junk,)))
    files = find_files((), found, [], skipped.append)
    assert ["good"] == [one.name for one in files]
    chosen = pick(found, room("ram=16,cores=4"), FEATURES)
    assert ["good"] == [one.name for one in chosen.models]
    for said in (skipped, chosen.skipped):
        reasons = {one.path.stem: str(one) for one in said}
        assert {"cut", "promises", "huge"} == {*reasons}
        assert all(HEADERS[stem][1] in reason for stem, reason in reasons.items())


@pytest.mark.parametrize("stem", [*KINDS, *HEADERS])
def test_a_file_that_is_asked_for_is_refused_with_what_it_is(junk: Path, stem: str) -> None:
    _, words = {**KINDS, **HEADERS}[stem]
    if not stem[:-1].endswith(("-of-0000",)):
        with pytest.raises(ModelFileError, match=stem) as refused:
            judge(junk / f"{stem}.gguf", None)
        assert words in refused.value.message


@pytest.mark.parametrize("stem", ["eyes", "style", "ggml-vocab-tiny", "zeros", "flux1-Q2"])
def test_a_name_or_an_import_of_what_is_no_model_says_so(junk: Path, stem: str) -> None:
    skipped: list[Skipped] = []
    found = identified(scan(StoreFolders(junk / "own", folders=(junk,)), skipped.append), ())
    with pytest.raises(ModelFileError, match=KINDS[stem][1]):
        find_on_disk(found, stem, skipped)
    with pytest.raises(ModelFileError, match=KINDS[stem][1]):
        bring(junk / f"{stem}.gguf", ModelShelf(junk / "own"), Fixed(), lambda *_: None)


def test_a_newer_engine_may_know_an_architecture_that_relayd_does_not(junk: Path) -> None:
    with pytest.raises(ModelFileError, match="does not know"):
        judge(junk / "unheard-of.gguf", 11434)
    with pytest.raises(ModelFileError, match="cannot be served: its header has no"):
        judge(junk / "unheard-of.gguf", 99999)


def model_in(folder: Path) -> Path:
    folder.mkdir()
    return make_model(folder / "a.gguf", TINY)


def refuse(skipped: Skipped) -> None:
    pytest.fail(str(skipped))


EVERY = [Skipped(Path(f"/m/{number}.gguf"), "a reason") for number in range(LISTED + 3)]


def test_the_warning_is_one_and_counts_what_it_does_not_name() -> None:
    assert "" == warning_of([])
    assert "1 file is skipped: /m/0.gguf: a reason" == warning_of(EVERY[:1] * 2)
    assert warning_of(EVERY).endswith(f"; and {len(EVERY) - NAMED} more: relayd models --skipped")
    assert NAMED == warning_of(EVERY).count("/m/")


def test_a_list_has_a_line_for_each_file_up_to_a_limit() -> None:
    assert [] == [*lines_of([], LISTED)]
    assert ["1 file is skipped:", "  /m/0.gguf: a reason"] == [*lines_of(EVERY[:1] * 2, LISTED)]
    lines = [*lines_of(EVERY, LISTED)]
    assert LISTED + 2 == len(lines)
    assert "  and 3 more: relayd models --skipped" == lines[-1]
    assert len(EVERY) + 1 == len([*lines_of(EVERY, len(EVERY))])


def test_a_list_of_models_has_only_those_that_are_all_there(junk: Path, tmp_path: Path) -> None:
    skipped: list[Skipped] = []
    found = scan(StoreFolders(junk / "own", folders=(junk,)))
    kept = whole_models(found, tmp_path / "cache", skipped.append)
    assert ["good"] == [one.name for one in kept]
    assert {"cut", "promises", "huge"} == {one.path.stem for one in skipped}


def test_a_file_that_was_whole_is_read_again_only_once_it_changed(tmp_path: Path) -> None:
    path, cache = model_in(tmp_path / "m"), tmp_path / "cache"
    found = scan(StoreFolders(tmp_path / "own", folders=(path.parent,)))
    assert found == whole_models(found, cache, refuse)
    stamp, data = path.stat(), path.read_bytes()
    path.write_bytes(bytes(len(data)))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert found == whole_models(found, cache, refuse)  # by size and time
    path.write_bytes(data[:-9])
    skipped: list[Skipped] = []
    assert [] == whole_models(found, cache, skipped.append)
    assert "bytes of file" in str(skipped[0])
    path.write_bytes(data)
    assert found == whole_models(found, cache, refuse)


@pytest.mark.parametrize("kept", [b"", b"{}", b"\xff", b'{"whole":{},"layout":9}', b'{"whole":5,"layout":1}'])
def test_a_memory_of_whole_files_that_makes_no_sense_is_left(tmp_path: Path, kept: bytes) -> None:
    path = model_in(tmp_path / "m")
    (tmp_path / FILE_NAME).write_bytes(kept)
    found = scan(StoreFolders(tmp_path / "own", folders=(path.parent,)))
    assert found == whole_models(found, tmp_path, refuse)
    assert found == whole_models(found, path / "no folder", refuse)


def test_a_name_that_nothing_has_is_asked_for_in_vain(junk: Path) -> None:
    with pytest.raises(UsageError, match="no model on this disk"):
        find_on_disk((), "other", [Skipped(junk / "eyes.gguf", "is no model")])


def test_damaged_headers_let_out_nothing_but_refusals(tmp_path: Path) -> None:
    """`python -m tests.fuzz.models` runs more of them."""
    result = fuzz(seed=3, cases=100, folder=tmp_path)
    assert {} == result.escapes
    assert {"planned"} < {*result.outcomes}

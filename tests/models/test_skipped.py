"""Files in folders of models that are none to serve: each named with what it is, and nothing ends on one."""

from pathlib import Path

import pytest

from relayd.advice.files import find_files
from relayd.advice.pick import pick
from relayd.desired.judged import judge
from relayd.errors import ModelFileError, UsageError
from relayd.models.bring import bring
from relayd.models.ondisk import find_on_disk, identified
from relayd.models.shelf import ModelShelf
from relayd.models.skipped import SHOWN, Skipped, warning_of
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


def test_the_warning_is_one_and_counts_what_it_does_not_name() -> None:
    every = [Skipped(Path(f"/m/{number}.gguf"), "a reason") for number in range(SHOWN + 3)]
    assert "" == warning_of([])
    assert "1 file is skipped: /m/0.gguf: a reason" == warning_of(every[:1] * 2)
    assert warning_of(every).endswith("; and 3 more")


def test_a_name_that_nothing_has_is_asked_for_in_vain(junk: Path) -> None:
    with pytest.raises(UsageError, match="no model on this disk"):
        find_on_disk((), "other", [Skipped(junk / "eyes.gguf", "is no model")])


def test_damaged_headers_let_out_nothing_but_refusals(tmp_path: Path) -> None:
    """`python -m tests.fuzz.models` runs more of them."""
    result = fuzz(seed=3, cases=100, folder=tmp_path)
    assert {} == result.escapes
    assert {"planned"} < {*result.outcomes}

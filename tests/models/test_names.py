"""Files are found and served by the names that people gave them, whatever these are made of."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relayd.errors import ModelFileError, UsageError
from relayd.files import is_file, readable, text_path
from relayd.gguf import part_names
from relayd.models.bring import bring
from relayd.models.ondisk import find_on_disk, identified
from relayd.models.shelf import ModelShelf
from relayd.models.skipped import Skipped
from relayd.models.stores import StoreFolders, scan
from tests.fakes.hub import sha256
from tests.models.desk import Fixed, model_file, split_part
from tests.models.test_stores import put, put_in_hub

pytestmark = pytest.mark.system

BAD = os.fsdecode(b"m\xff\xfe.gguf")


def looked(folder: Path) -> tuple[dict[str, Path], list[str]]:
    skipped = list[Skipped]()
    found = identified(scan(StoreFolders(folder / "own", folders=(folder,)), skipped.append), ())
    return {one.name: one.files[0] for one in found}, [str(one) for one in skipped]


def test_the_suffix_counts_in_any_case(tmp_path: Path) -> None:
    put(tmp_path / "m" / "Loud.GGUF", model_file())
    names, skipped = looked(tmp_path / "m")
    assert ({"Loud": tmp_path / "m" / "Loud.GGUF"}, []) == (names, skipped)
    assert "Loud" == bring(tmp_path / "m" / "Loud.GGUF", ModelShelf(tmp_path / "s"), Fixed(), print).name


def test_parts_with_another_suffix_are_refused_with_the_remedy() -> None:
    with pytest.raises(ModelFileError) as refused:
        part_names("a-00001-of-00002.GGUF", 2)
    assert "small letters" in refused.value.remedy


def test_linked_folders_are_searched_and_loops_end(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / "deep" / "far.gguf", model_file())
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "m")
    (tmp_path / "m" / "self").symlink_to("self")
    names, skipped = looked(tmp_path / "m")
    assert ({"far": tmp_path / "m/linked/deep/far.gguf"}, []) == (names, skipped)


def test_names_that_are_not_text_are_refused_readably_and_nothing_ends_on_them(tmp_path: Path) -> None:
    for path in (BAD, os.fsdecode(b"d\xff/in.gguf"), "good.gguf"):
        put(tmp_path / "m" / path, model_file())
    names, skipped = looked(tmp_path / "m")
    assert ["good"] == [*names]
    assert sorted([r"/m/d\xff: ", r"/m/m\xff\xfe.gguf: "]) == sorted(
        line.removeprefix(str(tmp_path)).partition("the name")[0] for line in skipped
    )
    assert all("Rename it" in line and line.encode() for line in skipped)
    with pytest.raises(UsageError, match=r"m\\xff\\xfe\.gguf has bytes that are not UTF-8"):
        bring(tmp_path / "m" / BAD, ModelShelf(tmp_path / "s"), Fixed(), print)


def test_a_readable_path_keeps_what_is_text() -> None:
    assert "/mödels/\\x1b.gguf" == readable("/mödels/\x1b.gguf")
    assert Path("/mödels") == text_path(Path("/mödels"))
    assert not is_file(Path("/" + "x" * 300))


@pytest.mark.parametrize(
    "words", [["serve", BAD], ["explain", BAD], ["models", "import", BAD], ["plan", "--config", BAD]]
)
def test_a_command_says_which_argument_is_not_text(words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "relayd", *words, "--json"]
    ran = subprocess.run(command, capture_output=True, env={**os.environ, "HOME": str(tmp_path)}, check=False)
    assert (2, b"") == (ran.returncode, ran.stderr)
    assert r"m\xff\xfe.gguf has bytes that are not UTF-8" == json.loads(ran.stdout)["error"]["message"]


def test_a_link_of_a_hubs_cache_is_imported_by_its_own_name(tmp_path: Path) -> None:
    data = model_file()
    snapshot = put_in_hub(tmp_path / "hub", "maker/tiny-GGUF", {"tiny-Q8_0.gguf": data})
    record = bring(snapshot / "tiny-Q8_0.gguf", ModelShelf(tmp_path / "s"), Fixed(), print)
    assert ("tiny-Q8_0", "Q8_0") == (record.name, record.quant)
    assert str(snapshot / "tiny-Q8_0.gguf") == record.parts[0].path
    assert sha256(data) in record.source


def test_parts_that_were_joined_are_one_whole_model(tmp_path: Path) -> None:
    put(tmp_path / "m" / "joined-00001-of-00003.gguf", model_file())
    names, skipped = looked(tmp_path / "m")
    assert (["joined"], []) == ([*names], skipped)
    record = bring(tmp_path / "m" / "joined-00001-of-00003.gguf", ModelShelf(tmp_path / "s"), Fixed(), print)
    assert 1 == len(record.parts)


def test_parts_that_were_renamed_are_said(tmp_path: Path) -> None:
    for number in (0, 1):
        put(tmp_path / "m" / f"renamed-{number}.gguf", split_part(number + 1, 2))
    with pytest.raises(ModelFileError, match=r"expected a name ending with -00001-of-00002\.gguf"):
        bring(tmp_path / "m" / "renamed-0.gguf", ModelShelf(tmp_path / "s"), Fixed(), print)
    with pytest.raises(ModelFileError, match="is part 2 of 2"):
        bring(tmp_path / "m" / "renamed-1.gguf", ModelShelf(tmp_path / "s"), Fixed(), print)


def test_two_files_of_one_name_are_two_models_with_names_of_their_own(tmp_path: Path) -> None:
    for folder, size in (("a", 64), ("b", 64), ("c", 128), ("d/b", 256)):
        put(tmp_path / "m" / folder / "model.gguf", model_file() + folder.encode() * size)
    shutil.copytree(tmp_path / "m/a", tmp_path / "m/z")
    names, _ = looked(tmp_path / "m")
    assert ["model", "b/model", "c/model", "d/b/model", "model"][:4] == [*names]
    found = identified(scan(StoreFolders(tmp_path / "own", folders=(tmp_path / "m",))), ())
    for name, path in names.items():
        assert (tmp_path / "m/a/model.gguf" if name == "model" else path) == find_on_disk(found, name).files[
            0
        ]


def test_a_file_that_grows_or_vanishes_during_a_scan_ends_nothing(tmp_path: Path) -> None:
    whole = model_file() + bytes(5000)
    for length in (0, 3, 7, 23, 40, len(whole)):
        put(tmp_path / "m" / f"grows-{length}.gguf", whole[:length])
    (tmp_path / "m" / "closed").mkdir(mode=0o000)
    names, skipped = looked(tmp_path / "m")
    assert [f"grows-{len(whole)}"] == [*names]
    assert 5 <= len(skipped)
    assert ([], []) == (scan(StoreFolders(tmp_path / "gone", folders=(tmp_path / "never",))), [])

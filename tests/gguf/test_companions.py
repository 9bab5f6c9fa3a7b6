"""Which files belong together, told by their names."""

from pathlib import Path

import pytest

from relayd.errors import ModelFileError
from relayd.gguf import Companions, find_companions, is_companion, part_names, read_metadata
from relayd.gguf.companions import first_part_name, match_companions
from tests.fuzz.headers import header


@pytest.mark.pure
def test_parts_are_numbered_from_one() -> None:
    expected = ("big-q4-00001-of-00003.gguf", "big-q4-00002-of-00003.gguf", "big-q4-00003-of-00003.gguf")

    assert expected == part_names("big-q4-00001-of-00003.gguf", 3)


@pytest.mark.pure
@pytest.mark.parametrize(
    "name", ["big.gguf", "big-00002-of-00003.gguf", "big-00001-of-00004.gguf", "big-1-of-3.gguf"]
)
def test_a_first_part_with_another_name_is_refused(name: str) -> None:
    with pytest.raises(ModelFileError, match=r"expected a name ending with -00001-of-00003\.gguf"):
        part_names(name, 3)


@pytest.mark.pure
def test_a_model_has_at_least_one_part() -> None:
    with pytest.raises(ModelFileError, match=r"-00001-of-00000\.gguf"):
        part_names("none-00001-of-00000.gguf", 0)


@pytest.mark.pure
def test_a_part_tells_the_name_of_the_first() -> None:
    assert "a-00001-of-00002.gguf" == first_part_name("a-00002-of-00002.gguf")
    assert "" == first_part_name("a.gguf")


@pytest.mark.pure
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mmproj-F16.gguf", True),
        ("gemma-3-4b-it-mmproj-f16.gguf", True),
        ("MMPROJ-model.gguf", True),
        ("mtp-Qwen3.6-27B.gguf", True),
        ("dspark-x.gguf", True),
        ("dflash-x.gguf", True),
        ("Qwen3.6-27B-MTP.gguf", False),
        ("mmproj-F16.txt", False),
        ("gemma-3-4b-it-Q4_K_M.gguf", False),
    ],
)
def test_companions_are_told_by_their_names(name: str, expected: bool) -> None:
    assert expected == is_companion(name)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("model", "beside", "expected"),
    [
        ("gemma-3-4b-it-Q4_K_M.gguf", "mmproj-F16.gguf", "mmproj-F16.gguf"),
        ("a-Q4_K_M.gguf", "a-Q8_0.gguf a-UD-IQ2_XXS.gguf mmproj-model-f16.gguf", "mmproj-model-f16.gguf"),
        ("a-Q4_K_M-00001-of-00002.gguf", "a-Q4_K_M-00002-of-00002.gguf mmproj-BF16.gguf", "mmproj-BF16.gguf"),
        ("a-Q4_K_M.gguf", "b-Q4_K_M.gguf mmproj-F16.gguf", ""),
        ("a-7b-Q4_K_M.gguf", "b.gguf mmproj-a-7b-f16.gguf mmproj-b-f16.gguf", "mmproj-a-7b-f16.gguf"),
        ("a-7b.Q4_K_M.gguf", "b.gguf a-7b.mmproj-f16.gguf mmproj-a-72b-f16.gguf", "a-7b.mmproj-f16.gguf"),
        ("a-7b-Q8_0.gguf", "mmproj-F32.gguf mmproj-Q8_0.gguf", "mmproj-Q8_0.gguf mmproj-F32.gguf"),
        (
            "a-7b-tuned-Q4_0.gguf",
            "mmproj-F16.gguf mmproj-a-7b-F32.gguf",
            "mmproj-a-7b-F32.gguf mmproj-F16.gguf",
        ),
        (
            "Qwen3.6-27B-Q4_0.gguf",
            "mtp-Qwen3.6-27B-Q8_0.gguf mtp-Qwen3.5-27B.gguf",
            "mtp-Qwen3.6-27B-Q8_0.gguf",
        ),
        ("a.gguf", "mmproj.txt notes.md", ""),
    ],
)
def test_companions_go_with_the_model_they_name(model: str, beside: str, expected: str) -> None:
    assert expected.split() == match_companions(model, [model, *beside.split()])


@pytest.mark.system
def test_companions_are_found_beside_the_model_and_can_be_read(tmp_path: Path) -> None:
    for name, architecture in (
        ("a-Q4_0.gguf", "llama"),
        ("mmproj-a-F16.gguf", "clip"),
        ("mtp-a-Q8_0.gguf", "llama"),
    ):
        (tmp_path / name).write_bytes(header(architecture=architecture).data)
    (tmp_path / "mmproj-a-F32.gguf").mkdir()

    found = find_companions(tmp_path / "a-Q4_0.gguf")

    assert Companions((tmp_path / "mmproj-a-F16.gguf",), (tmp_path / "mtp-a-Q8_0.gguf",)) == found
    assert "clip" == read_metadata(found.projectors[0]).architecture


@pytest.mark.system
def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="gone cannot be listed: No such file"):
        find_companions(tmp_path / "gone" / "a.gguf")

import pytest

from relayd.catalog.entry import CatalogEntry, ModelFile
from relayd.errors import UsageError
from relayd.models.choice import base_name, choose, preferred_file, quant_of
from relayd.units import Bytes

pytestmark = pytest.mark.pure

REPO = [
    "README.md",
    "Qwen3-VL-8B-Q4_K_M.gguf",
    "Qwen3-VL-8B-Q8_0.gguf",
    "Qwen3-VL-8B-UD-Q4_K_XL.gguf",
    "BF16/Qwen3-VL-8B-BF16-00001-of-00002.gguf",
    "BF16/Qwen3-VL-8B-BF16-00002-of-00002.gguf",
    "mmproj-BF16.gguf",
    "mmproj-F32.gguf",
    "mtp-Qwen3-VL-8B-Q8_0.gguf",
    "Qwen3-VL-8B-imatrix.gguf",
]


@pytest.mark.parametrize(
    ("quant", "path"),
    [
        ("", "Qwen3-VL-8B-Q4_K_M.gguf"),
        ("q8_0", "Qwen3-VL-8B-Q8_0.gguf"),
        ("UD-Q4_K_XL", "Qwen3-VL-8B-UD-Q4_K_XL.gguf"),
        ("Q4_K_XL", "Qwen3-VL-8B-UD-Q4_K_XL.gguf"),
    ],
)
def test_a_quantization_is_one_file(quant: str, path: str) -> None:
    assert (path,) == choose(REPO, quant=quant).parts


def test_all_parts_of_a_split_model_are_wanted_whichever_is_named() -> None:
    parts = ("BF16/Qwen3-VL-8B-BF16-00001-of-00002.gguf", "BF16/Qwen3-VL-8B-BF16-00002-of-00002.gguf")
    assert parts == choose(REPO, quant="bf16").parts
    assert parts == choose(REPO, file=parts[1]).parts


def test_a_projector_and_a_draft_come_along_from_the_folders_above() -> None:
    choice = choose(REPO, quant="BF16")
    assert ("mmproj-BF16.gguf", "mtp-Qwen3-VL-8B-Q8_0.gguf") == (choice.projector, choice.draft)


def test_a_split_model_with_a_part_missing_is_refused() -> None:
    with pytest.raises(UsageError, match="00002-of-00002"):
        choose(REPO[:5], quant="BF16")


def test_a_quantization_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UsageError, match="no Q2_K") as caught:
        choose(REPO, quant="Q2_K")
    assert "There are: BF16, Q4_K_M, Q8_0, UD-Q4_K_XL." == caught.value.remedy


def test_a_file_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UsageError, match="no file x") as caught:
        choose(REPO, file="x.gguf")
    assert "Qwen3-VL-8B-Q8_0.gguf" in caught.value.remedy
    assert "imatrix" not in caught.value.remedy


def test_several_models_of_one_quantization_are_listed_and_none_is_taken() -> None:
    with pytest.raises(UsageError, match="2 files could be meant: a-Q8_0"):
        choose(["a-Q8_0.gguf", "b-Q8_0.gguf"])


def test_a_repository_without_a_gguf_is_refused() -> None:
    with pytest.raises(UsageError, match="no GGUF"):
        choose(["model.safetensors", "mmproj-F16.gguf"])


@pytest.mark.parametrize(
    ("name", "quant"),
    [
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("Qwen3-8B-UD-IQ2_XXS.gguf", "UD-IQ2_XXS"),
        ("m.Q5_K_M.llamafile", "Q5_K_M"),
        ("m-F16-00001-of-00003.gguf", "F16"),
        ("q4-model.gguf", "Q4"),
        ("model.gguf", ""),
    ],
)
def test_a_file_name_tells_its_quantization(name: str, quant: str) -> None:
    assert quant == quant_of(name)


def test_a_name_loses_its_suffix_and_the_number_of_its_part() -> None:
    names = ("a-Q8_0.gguf", "b-00001-of-00003.gguf", "c.llamafile")
    assert ["a-Q8_0", "b", "c"] == [base_name(name) for name in names]


def test_a_file_whose_place_is_known_is_preferred() -> None:
    entry = CatalogEntry(
        name="m",
        title="M",
        license="mit",
        capabilities=("chat",),
        files=(
            ModelFile(quant="Q4_K_M", bytes=Bytes(5), source="s"),
            ModelFile(quant="Q8_0", bytes=Bytes(8), source="s", repo="o/r", file="f.gguf"),
            ModelFile(quant="UD-Q4_K_XL", bytes=Bytes(6), source="s", repo="o/r", file="g.gguf"),
        ),
    )
    preferred = preferred_file(entry)
    assert preferred
    assert "UD-Q4_K_XL" == preferred.quant

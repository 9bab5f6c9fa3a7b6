from pathlib import Path

import pytest

from relayd.catalog.entry import CatalogEntry
from relayd.errors import UsageError
from relayd.models.ondisk import Found, Store, find_on_disk, identified

pytestmark = pytest.mark.pure


def found(name: str, *, store: Store = "folder", size: int = 5, quant: str = "", repo: str = "") -> Found:
    return Found(name, (Path(f"/{store}/{name}.gguf"),), size, store, quant=quant, repo=repo)


def entry(name: str, title: str = "T", **facts: object) -> CatalogEntry:
    return CatalogEntry(name=name, title=title, license="mit", capabilities=("chat",), **facts)  # type: ignore[arg-type]  # each test gives the facts it needs


def test_a_name_is_matched_exactly_before_its_beginning() -> None:
    models = [found("qwen"), found("qwen-coder")]
    assert models[0] == find_on_disk(models, "QWEN")
    assert models[1] == find_on_disk(models, "qwen-c")


def test_the_beginning_of_several_names_lists_them_and_means_none() -> None:
    models = [found("qwen-a", size=1), found("qwen-b", store="ollama", size=2)]
    with pytest.raises(UsageError, match="could be 2 models") as caught:
        find_on_disk(models, "qwen")
    assert "Ollama: /ollama/qwen-b.gguf" in caught.value.remedy
    assert "your folders: /folder/qwen-a.gguf" in caught.value.remedy


def test_a_part_inside_a_name_means_nothing_but_is_a_hint() -> None:
    with pytest.raises(UsageError, match="called 'mistral'") as caught:
        find_on_disk([found("llava-mistral")], "mistral")
    assert caught.value.remedy.startswith("On disk: llava-mistral.")


@pytest.mark.parametrize("name", ["", " ", "../x", "x"])
def test_names_that_mean_no_model_are_errors(name: str) -> None:
    with pytest.raises(UsageError, match="no model on this disk"):
        find_on_disk([found("a")], name)


def test_equal_files_in_two_stores_are_one_model() -> None:
    models = [found("a", store="ollama"), found("A", store="huggingface")]
    assert models[1] == find_on_disk(models, "a")


def test_different_files_of_one_name_are_told_apart_by_the_person() -> None:
    with pytest.raises(UsageError, match="could be 2"):
        find_on_disk([found("a", size=1), found("a", store="ollama", size=2)], "a")


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (
            found("Tiny-3B-Instruct-Q4_K_M", quant="Q4_K_M"),
            ("tiny-3b:Q4_K_M", "small:Q4_K_M", "tiny-3b", "small", "Tiny-3B-Instruct-Q4_K_M"),
        ),
        (found("Small", quant=""), ("tiny-3b", "small", "Small")),
        (found("tiny:3b", store="ollama"), ("tiny-3b", "small", "tiny:3b")),
        (
            found("tiny:3b-q4_K_M", store="ollama", quant="Q4_K_M"),
            ("tiny-3b:Q4_K_M", "small:Q4_K_M", "tiny-3b", "small", "tiny:3b-q4_K_M"),
        ),
        (
            found("Tiny-3B-Instruct-Q8_0", quant="Q8_0"),
            ("tiny-3b:Q8_0", "small:Q8_0", "tiny-3b", "small", "tiny-q8", "Tiny-3B-Instruct-Q8_0"),
        ),
    ],
)
def test_a_file_is_called_as_its_entry_and_known_by_all_its_names(
    model: Found, names: tuple[str, ...]
) -> None:
    known = entry("tiny-3b", "Tiny 3B Instruct", aliases=("small",), quant_aliases={"tiny-q8": "Q8_0"})
    (one,) = identified([model], [known])
    assert ("tiny-3b", names) == (one.model, one.names)


def test_of_different_files_of_one_name_the_first_has_it() -> None:
    lying = [
        found("Tiny-3B-Q4_0", quant="Q4_0", size=size, repo=repo)
        for size, repo in ((1, ""), (2, "a/b"), (3, ""))
    ]
    models = identified(lying, [entry("tiny-3b", "Tiny 3B")])
    assert ["tiny-3b:Q4_0", "a/b:Q4_0", "Tiny-3B-Q4_0"] == [one.name for one in models]
    assert models[0] == find_on_disk(models, "tiny-3b:q4_0")
    with pytest.raises(UsageError, match="could be 3"):
        find_on_disk(models, "tiny-3b")


def test_equal_files_in_two_stores_have_one_name() -> None:
    lying = [found("Tiny-3B-Q4_0", quant="Q4_0", store=store) for store in ("ollama", "lmstudio")]
    assert ["tiny-3b:Q4_0"] * 2 == [one.name for one in identified(lying, [entry("tiny-3b", "Tiny 3B")])]


@pytest.mark.parametrize("name", ["Tiny-3B-Instruct-Finetuned-Q4_K_M", "My-Tiny-3B-Instruct"])
def test_a_fine_tune_is_not_taken_for_its_base(name: str) -> None:
    (one,) = identified([found(name, quant="Q4_K_M")], [entry("tiny-3b", "Tiny 3B Instruct")])
    assert "" == one.model

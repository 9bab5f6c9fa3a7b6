from collections.abc import Sequence
from pathlib import Path

import pytest

from relayd.catalog import CatalogEntry, Folders, load_catalog, shipped_folder
from relayd.catalog.match import Match
from relayd.errors import UsageError
from relayd.models.ondisk import Found, Store
from relayd.models.resolve import ambiguous, best_two, meanings, name_of, room_of
from relayd.models.source import AtUrl, InRepo
from relayd.units import GIB

pytestmark = pytest.mark.pure


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Sequence[CatalogEntry]:
    """The catalogue that ships."""
    none = tmp_path_factory.mktemp("none")
    return load_catalog(Folders(shipped_folder(), none, none, none / "cache.json"))


def here(name: str, model: str = "", quant: str = "", store: Store = "relayd", size: int = GIB) -> Found:
    path = Path(f"/m/{store}/{name.replace(':', '-')}.gguf")
    return Found(name, (path,), size, store, quant=quant, model=model)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("qwen3:8b", "qwen3-8b"),
        ("Qwen3-8B", "qwen3-8b"),
        ("qwen3_8b", "qwen3-8b"),
        ("qwen3-8b:latest", "qwen3-8b"),
        ("qwen3:30b", "qwen3-30b-a3b"),
        ("qwen3:30b-a3b-q4_K_M", "qwen3-30b-a3b:Q4_K_M"),
        ("llama3.1", "llama-3.1-8b-instruct"),
        ("llama3.1:8b", "llama-3.1-8b-instruct"),
        ("llama3.2:1b", "llama-3.2-1b-instruct"),
        ("gemma3:4b", "gemma-3-4b-it"),
        ("gemma3:4b-it-q8_0", "gemma-3-4b-it:Q8_0"),
        ("gemma3n:e4b", "gemma-3n-e4b-it"),
        ("gpt-oss:20b", "gpt-oss-20b"),
        ("gpt-oss:120b-mxfp4", "gpt-oss-120b:MXFP4_MOE"),
        ("qwen2.5vl:7b", "qwen2.5-vl-7b-instruct"),
        ("qwen2.5-coder:7b", "qwen2.5-coder-7b-instruct"),
        ("phi4:14b", "phi-4"),
        ("phi4-mini", "phi-4-mini-instruct"),
        ("mistral:7b", "mistral-7b-instruct-v0.3"),
        ("mistral-nemo:12b", "mistral-nemo-instruct-2407"),
        ("mistral-small:24b", "mistral-small-3.2-24b-instruct-2506"),
        ("deepseek-coder-v2:16b", "deepseek-coder-v2-lite-instruct"),
        ("olmo2:7b", "olmo-2-1124-7b-instruct"),
        ("llama4:scout", "llama-4-scout-17b-16e-instruct"),
        ("mixtral:8x7b", "mixtral-8x7b-instruct-v0.1"),
        ("nomic-embed-text:latest", "nomic-embed-text-v1.5"),
        ("ministral-3:3b", "ministral-3-3b-instruct-2512"),
    ],
)
def test_a_name_as_in_ollama_means_one_model_of_the_catalogue(
    typed: str, meant: str, entries: Sequence[CatalogEntry]
) -> None:
    (match,) = meanings(typed, (), entries)

    assert isinstance(match, Match)
    assert meant == match.entry.name + (f":{match.quant}" if match.quant else "")


def test_every_name_of_the_catalogue_means_its_own_model(entries: Sequence[CatalogEntry]) -> None:
    for entry in entries:
        for name in (entry.name, *entry.aliases):
            assert [entry.name] == [
                one.entry.name for one in meanings(name, (), entries) if isinstance(one, Match)
            ]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Qwen/Qwen3-0.6B-GGUF", InRepo("Qwen/Qwen3-0.6B-GGUF")),
        ("Qwen/Qwen3-0.6B-GGUF:Q8_0", InRepo("Qwen/Qwen3-0.6B-GGUF", quant="Q8_0")),
        ("hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0", InRepo("Qwen/Qwen3-0.6B-GGUF", quant="Q8_0")),
        ("huggingface.co/Qwen/Qwen3-0.6B-GGUF", InRepo("Qwen/Qwen3-0.6B-GGUF")),
        ("hf:o/n/sub/m.gguf", InRepo("o/n", "sub/m.gguf")),
        ("o/n/m.gguf", InRepo("o/n", "m.gguf")),
        ("https://hf.co/o/n", InRepo("o/n")),
        ("https://example.org/m.gguf", AtUrl("https://example.org/m.gguf", "m.gguf")),
    ],
)
def test_a_repository_or_an_address_means_itself(typed: str, meant: object) -> None:
    assert (meant,) == meanings(typed, (), ())


@pytest.mark.parametrize("typed", ["../m.gguf", "m/here.gguf", "/m/here.gguf", "~/m.gguf", "a/../b"])
def test_a_path_is_neither_a_name_nor_a_repository(typed: str) -> None:
    with pytest.raises(UsageError) as refused:
        meanings(typed, (), ())

    assert "relayd serve FILE" in refused.value.remedy or "OWNER/NAME" in refused.value.remedy


@pytest.mark.parametrize("typed", ["qwen3:8b", "qwen3-8b", "QWEN3-8B:q4_k_m", "qwen3"])
def test_a_model_on_disk_is_meant_before_one_to_fetch(typed: str, entries: Sequence[CatalogEntry]) -> None:
    model = here("qwen3-8b:Q4_K_M", "qwen3-8b", "Q4_K_M")

    assert (model,) == meanings(typed, [model, here("other")], entries)


def test_another_quantization_than_the_one_on_disk_is_to_fetch(entries: Sequence[CatalogEntry]) -> None:
    (match,) = meanings("qwen3:8b-q8_0", [here("qwen3-8b:Q4_K_M", "qwen3-8b", "Q4_K_M")], entries)

    assert isinstance(match, Match)
    assert "qwen3-8b:Q8_0" == name_of(match)


def test_a_file_that_the_catalogue_does_not_know_is_found_by_the_words_of_its_name() -> None:
    model = here("My-Model-v2", quant="")

    assert (model,) == meanings("My Model (v2)", [model], ())
    assert (model,) == meanings("my-model", [model], ())


def test_a_copy_in_a_second_store_is_the_same_model() -> None:
    first, second = here("a"), here("a", store="ollama")

    assert (first,) == meanings("a", [second, first], ())


def test_what_came_from_a_repository_is_found_by_it() -> None:
    model = Found("m", (Path("/h/m-Q8_0.gguf"),), 1, "huggingface", repo="o/n", quant="Q8_0")

    assert (model,) == meanings("O/N:q8_0", [model], ())
    assert (InRepo("o/n", quant="Q4_0"),) == meanings("o/n:Q4_0", [model], ())


def test_of_several_the_best_two_are_offered_with_the_reason(entries: Sequence[CatalogEntry]) -> None:
    meant = meanings("gemma3", (), entries)
    first, second = best_two(meant, 10 * GIB)

    assert 5 == len(meant)
    assert ("gemma-3-4b-it", "fits easily") == (first.name.partition(":")[0], first.why)
    assert ("gemma-3-12b-it", "the largest that runs well here") == (
        second.name.partition(":")[0],
        second.why,
    )
    assert first.bytes < second.bytes <= 8.5 * GIB
    error = ambiguous("gemma3", meant, 10 * GIB, "relayd pull")
    assert "'gemma3' could be 5 models" == error.message
    assert f"relayd pull {first}" == error.remedy.splitlines()[0]


def test_models_run_well_on_devices_or_in_half_of_the_ram() -> None:
    assert 24 * GIB == room_of(64 * GIB, 24 * GIB)
    assert 12 * GIB == room_of(24 * GIB, 0)


def test_where_none_fits_the_smallest_are_offered_as_too_large(entries: Sequence[CatalogEntry]) -> None:
    offered = best_two(meanings("gemma3", (), entries), GIB // 16)

    assert 2 == len(offered)
    assert all("too large" in one.why for one in offered)


@pytest.mark.parametrize("typed", ["", "nothing-like-it", "qwen3-8b:14b", "qwen3-8b:Q7_X"])
def test_what_means_nothing_is_refused_with_names_like_it(
    typed: str, entries: Sequence[CatalogEntry]
) -> None:
    with pytest.raises(UsageError) as refused:
        meanings(typed, (), entries)

    assert refused.value.remedy

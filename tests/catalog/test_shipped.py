"""Is what relayd ships true, as far as numbers can tell?"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from relayd.catalog import CatalogEntry, Folders, ModelFile, find_entry, load_catalog, shipped_folder
from relayd.gguf.quants import FILE_TYPES
from relayd.planner.evidence import TESTS
from relayd.planner.quality import Use
from tests.catalog.parameters import count_active, count_parameters

pytestmark = pytest.mark.system

LLAMAFILES = """
    qwen3.5-0.8b qwen3.5-2b qwen3.5-4b qwen3.5-9b qwen3.5-27b ministral-3b llava-1.6-7b llava-1.6-7b-q8
    llava-1.5-7b apertus-8b gpt-oss-20b-mxfp4 gpt-oss-20b lfm2-24b llama-3.2-1b llama-3.2-3b llama-3.1-8b
    gemma-3-1b gemma-3-4b gemma-3-12b qwq-32b deepseek-r1-14b deepseek-r1-8b mistral-7b granite-8b phi-3-mini
    mixtral-8x7b olmo-7b e5-mistral-7b mxbai-embed-large
""".split()

PUBLISHED_TOLERANCE = 0.003
"""Rows that a table is padded by, biases of expert scores, and the like."""

OTHER_COUNTS: Mapping[str, str] = {
    "gemma-3n-e2b-it": "published with towers for vision and sound",
    "gemma-3n-e4b-it": "published with towers for vision and sound",
    "gemma-4-e2b-it": "published with towers for vision and sound",
    "gemma-4-e4b-it": "published with towers for vision and sound",
    "qwen3.5-0.8b": "published with 6 million weights beside the text model, as all sizes of it",
    "qwen3.5-2b": "published with 6 million weights beside the text model, as all sizes of it",
    "qwen3-next-80b-a3b-thinking": "llmfit counts 0.8 % less than of its sibling, which has the same shape",
}
"""Models whose published count is another one than that of the text model, and why."""

NOMINAL_BITS: Mapping[str, float] = {
    "Q4_0": 4.6, "Q4_1": 5.1, "Q4_K_S": 4.7, "Q4_K_M": 4.9, "Q5_K_M": 5.7, "Q6_K": 6.57, "Q8_0": 8.5,
    "F16": 16.0, "MXFP4_MOE": 4.5, "UD-IQ2_M": 3.0, "UD-Q4_K_M": 5.1, "UD-Q4_K_XL": 5.2,
}  # fmt: skip
"""Bits a weight of an 8B model (llama.cpp tools/quantize/README.md), of unsloth's mixes as they are seen."""

TOLERANCE = 0.12
UNIFORM_TOLERANCE = 0.025
"""Of Q8_0, which has one type for all matrices: only the header and the norms differ."""

OTHER_BITS: Mapping[tuple[str, str], str] = {
    ("gemma-3-270m-it", "Q4_0"): "63 % of it is the embedding, which has more bits",
    ("gemma-3-1b-it", "Q4_0"): "30 % of it is the embedding, which has more bits",
    ("gemma-3-4b-it", "Q4_0"): "17 % of it is the embedding, which has more bits",
    ("gemma-4-e4b-it", "Q4_K_M"): "37 % of it are per-layer embeddings, which have more bits",
    ("nemotron-3-nano-30b-a3b", "Q4_K_M"): "rows of 1856 and 2688 are no multiple of 256: larger types",
    ("qwen3.5-0.8b", "Q4_K_M"): "embedding and state tensors with more bits",
    ("qwen3.5-0.8b", "UD-Q4_K_XL"): "embedding and state tensors with more bits",
    ("qwen3.5-122b-a10b", "UD-Q4_K_XL"): "an early mix, of fewer bits than later ones",
    ("qwen3.5-397b-a17b", "UD-Q4_K_XL"): "an early mix, of fewer bits than later ones",
    ("ministral-3-3b-instruct-2512", "Q8_0"): "not uniform: some tensors have more bits",
    ("ministral-3-3b-reasoning-2512", "Q8_0"): "not uniform: some tensors have more bits",
    ("ministral-3-8b-instruct-2512", "Q8_0"): "not uniform: some tensors have more bits",
    ("ministral-3-8b-reasoning-2512", "Q8_0"): "not uniform: some tensors have more bits",
}
"""Files of known size with other bits a weight than their quantization tells, and why."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[CatalogEntry, ...]:
    nothing = tmp_path_factory.mktemp("none")
    return load_catalog(Folders(shipped_folder(), nothing, nothing))


def files(models: Iterable[CatalogEntry]) -> Iterable[tuple[CatalogEntry, ModelFile, float]]:
    """Return every file with its model and its bits a weight."""
    return (
        (model, file, file.bytes * 8 / model.parameters)
        for model in models
        if model.parameters
        for file in model.files
    )


def is_off(file: ModelFile, bits: float) -> bool:
    tolerance = UNIFORM_TOLERANCE if file.quant == "Q8_0" else TOLERANCE
    return abs(bits / NOMINAL_BITS[file.quant] - 1) > tolerance


def test_the_catalogue_is_as_large_as_promised(models: tuple[CatalogEntry, ...]) -> None:
    assert len({model.family for model in models}) >= 60
    assert len(models) >= 120


def test_a_file_holds_the_family_it_is_named_for(models: tuple[CatalogEntry, ...]) -> None:
    assert {path.stem for path in Path(shipped_folder()).glob("*.toml")} == {model.family for model in models}


def test_every_number_has_a_source(models: tuple[CatalogEntry, ...]) -> None:
    lacking = [
        (model.name, group)
        for model in models
        for group, told in (
            ("dimensions", model.dimensions),
            ("parameters", model.parameters),
            ("published_parameters", model.published_parameters),
            ("context", model.context),
            ("license", model.license),
            ("gated", model.gated),
            ("capabilities", model.capabilities),
            ("min_engine_build", model.min_engine_build),
        )
        if told and not getattr(model.sources, group)
    ]
    assert [] == lacking


def test_the_shape_gives_the_number_of_weights(models: tuple[CatalogEntry, ...]) -> None:
    wrong = {
        model.name: (count_parameters(model.dimensions), model.parameters)
        for model in models
        if model.dimensions and "computed from the dimensions" in model.sources.parameters
        if count_parameters(model.dimensions) != model.parameters
        or (model.active_parameters or model.parameters) != count_active(model.dimensions)
    }
    assert {} == wrong


def test_the_shape_agrees_with_the_published_number_of_weights(models: tuple[CatalogEntry, ...]) -> None:
    off = {
        model.name
        for model in models
        if model.parameters and model.published_parameters
        if abs(model.parameters / model.published_parameters - 1) > PUBLISHED_TOLERANCE
    }
    assert set(OTHER_COUNTS) == off


def test_a_shape_without_a_count_says_what_is_unknown(models: tuple[CatalogEntry, ...]) -> None:
    silent = [
        model.name
        for model in models
        if "computed from the dimensions" not in model.sources.parameters
        if not (model.dimensions and model.dimensions.unknown)
        and not model.note.startswith("shape not known")
    ]
    assert [] == silent


def test_files_of_known_size_have_the_bits_of_their_quantization(models: tuple[CatalogEntry, ...]) -> None:
    off = {
        (model.name, file.quant) for model, file, bits in files(models) if file.exact and is_off(file, bits)
    }
    assert set(OTHER_BITS) == off


def test_estimates_are_no_smaller_than_their_quantization_and_below_the_next(
    models: tuple[CatalogEntry, ...],
) -> None:
    impossible = [
        (model.name, file.quant, round(bits, 2))
        for model, file, bits in files(models)
        if not file.exact and not 0.85 < bits / NOMINAL_BITS[file.quant] < 1.8
    ]
    assert [] == impossible


def test_quantizations_are_names_of_llama_cpp_or_of_unsloth(models: tuple[CatalogEntry, ...]) -> None:
    known = {*FILE_TYPES.values(), *(f"UD-{name}" for name in FILE_TYPES.values())}
    unknown = {
        file.quant
        for _, file, _ in files(models)
        if file.quant not in known and not re.fullmatch(r"UD-Q\d_K_XL", file.quant)
    }
    assert set() == unknown
    aliases = [
        quant for model in models for quant in model.quant_aliases.values() if quant not in model.quants
    ]
    assert [] == aliases


def test_no_file_is_there_twice(models: tuple[CatalogEntry, ...]) -> None:
    places = Counter((file.repo, file.file) for _, file, _ in files(models) if file.file)
    assert [] == [place for place, times in places.items() if times > 1]


def test_a_file_of_known_size_has_a_place(models: tuple[CatalogEntry, ...]) -> None:
    placeless = [
        model.name for model, file, _ in files(models) if file.exact and not (file.repo and file.file)
    ]
    assert [] == placeless
    parts = [
        file.file
        for _, file, _ in files(models)
        if (f"-00001-of-{file.parts:05}.gguf" in file.file) != (file.parts > 1)
    ]
    assert [] == parts


def test_files_of_known_size_grow_with_their_bits(models: tuple[CatalogEntry, ...]) -> None:
    """Two models of one family cannot have the same bytes, if their numbers of weights differ."""
    exact = [(model, file) for model, file, _ in files(models) if file.exact]
    same = [
        (one.name, other.name)
        for (one, a), (other, b) in itertools.combinations(exact, 2)
        if a.bytes == b.bytes and one.parameters != other.parameters
    ]
    assert [] == same


def test_the_names_of_the_llamafile_catalogue_are_known(models: tuple[CatalogEntry, ...]) -> None:
    assert 29 == len(LLAMAFILES)
    for name in LLAMAFILES:
        match = find_entry(models, name)
        assert name in match.entry.names


def test_every_name_of_the_llamafile_catalogue_can_be_pulled(models: tuple[CatalogEntry, ...]) -> None:
    entries = {name: find_entry(models, name).entry for name in LLAMAFILES}
    homeless = [
        name
        for name, entry in entries.items()
        if not (entry.repos or any(file.url or (file.repo and file.file) for file in entry.files))
    ]

    assert [] == homeless


def test_qwq_has_the_size_of_a_32b_model(models: tuple[CatalogEntry, ...]) -> None:
    file = find_entry(models, "qwq-32b:Q4_K_M").file
    assert file
    assert 19e9 < file.bytes < 21e9


def test_names_that_mean_a_quantization_find_it(models: tuple[CatalogEntry, ...]) -> None:
    assert "Q8_0" == find_entry(models, "llava-1.6-7b-q8").quant
    assert "MXFP4_MOE" == find_entry(models, "gpt-oss-20b-mxfp4").quant


def test_every_benchmark_is_known_and_has_its_page_and_date(models: tuple[CatalogEntry, ...]) -> None:
    figures = [(model.name, one) for model in models for one in model.benchmarks]

    assert len(figures) >= 200
    assert [] == [(name, one.test) for name, one in figures if one.test not in TESTS]
    dated = re.compile(r"https://\S+.*\(\d{4}(?:-\d\d)*\)")
    assert set() == {one.source for _, one in figures if not dated.search(one.source)}
    assert [] == [(name, one.test) for name, one in figures if one.score > 100]


def test_a_benchmark_says_something_of_uses_that_there_are() -> None:
    assert set() == {use for test in TESTS.values() for use in test.uses.split()} - set(Use)


def test_every_release_has_its_month(models: tuple[CatalogEntry, ...]) -> None:
    assert [] == [model.name for model in models if not re.fullmatch(r"20\d\d-\d\d", model.released)]


THINKING = re.compile(r"qwen3\.[56]-|gemma-4-|glm-4\.[57]|gpt-oss|-r1|qwq|thinking|reasoning|-think\b")
CODING = ("coder", "codestral", "devstral", "codellama", "gpt-oss", "qwen3.6-", "qwen3.5-122b", "qwen3.5-9b")


def test_models_that_think_or_code_are_listed_with_it(models: tuple[CatalogEntry, ...]) -> None:
    """By their cards: Qwen3.5 and 3.6, Gemma 4, GLM-4.5 and 4.7 and gpt-oss think before they answer."""
    lacking = [
        (model.name, capability)
        for model in models
        for capability, is_so in (
            ("reasoning", bool(THINKING.search(model.name))),
            ("code", any(part in model.name for part in CODING)),
        )
        if is_so and capability not in model.capabilities and "embedding" not in model.capabilities
    ]
    assert [] == lacking

"""Predictions against numbers that a real llama-server printed, and against their own sums."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.catalog import CatalogEntry, Folders, load_catalog, shipped_folder
from relayd.errors import ModelFileError, UsageError
from relayd.gguf.metadata import ModelMetadata
from relayd.memory.compute import compute_bytes, record
from relayd.memory.graph import allocate
from relayd.memory.predict import predict
from relayd.memory.setup import Gpu, Setup
from relayd.memory.shape import read_shape
from relayd.memory.synthetic import header
from relayd.memory.weights import repacked_types
from relayd.units import MIB, Bytes

pytestmark = pytest.mark.pure

MEASURED = json.loads((Path(__file__).parent / "measured_memory.json").read_text("utf-8"))
"""What build b11434 printed for headers of real shapes: `context` and `compute` in MiB."""


@cache
def entries() -> dict[str, CatalogEntry]:
    nowhere = Path("/nonexistent")
    folders = Folders(shipped=shipped_folder(), state=nowhere, own=nowhere, cache=None)
    return {entry.name: entry for entry in load_catalog(folders)}


@cache
def shape_of(name: str) -> ModelMetadata:
    entry = entries()[name]
    assert entry.dimensions is not None
    return header(entry.dimensions, entry.context or 8192)


def setup_of(arguments: str) -> Setup:
    """Return the setup that flags of llama-server ask for."""
    words = arguments.split()
    values = dict(zip(words[::2], words[1::2], strict=True))
    return Setup(
        context=int(values["-c"]),
        slots=int(values.get("-np", 0)),
        type_k=values.get("-ctk", "f16"),
        type_v=values.get("-ctv", "f16"),
        micro_batch=int(values.get("-ub", 512)),
        flash_attention=values.get("-fa", "on") == "on",
    )


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row['model']} {row['args']}")
def test_context_and_compute_are_what_the_engine_measured(row: dict[str, Any]) -> None:
    prediction = predict(shape_of(row["model"]), setup_of(row["args"]))

    assert row["context"] == prediction.part("cpu", "context") // MIB
    assert row["compute"] == prediction.part("cpu", "compute") // MIB


def test_terms_add_up_device_by_device() -> None:
    setup = Setup(context=8192, slots=2, gpus=(Gpu("cuda0"), Gpu("cuda1", 3.0)), experts_on_cpu=4)
    prediction = predict(shape_of("qwen3-30b-a3b"), setup)

    whole = sum(term.nbytes for term in prediction.terms if term.part != "limit")
    assert whole == sum(prediction.total(device) for device in prediction.devices)
    assert ("cuda0", "cuda1", "cpu") == prediction.devices


def test_every_term_names_its_source() -> None:
    prediction = predict(shape_of("gemma-4-e4b-it"), Setup(context=8192, gpus=(Gpu("cuda0"),)))

    assert all(term.source and term.nbytes >= 0 for term in prediction.terms)


@settings(max_examples=40)
@given(shares=st.lists(st.floats(0.1, 10), min_size=1, max_size=4), layers=st.integers(0, 40))
def test_a_split_moves_weights_and_cache_but_changes_no_sum(shares: list[float], layers: int) -> None:
    model = shape_of("llama-3.1-8b-instruct")
    gpus = tuple(Gpu(f"gpu{index}", share) for index, share in enumerate(shares))
    alone = predict(model, Setup(context=8192))
    split = predict(model, Setup(context=8192, gpus=gpus, gpu_layers=layers))

    for part in ("model", "context"):
        sums = [
            sum(term.nbytes for term in one.terms if term.part == part and term.name != "head weights")
            for one in (alone, split)
        ]
        assert sums[0] == sums[1]


@settings(max_examples=40)
@given(context=st.integers(256, 200_000), more=st.integers(0, 50_000))
def test_a_longer_context_never_takes_less(context: int, more: int) -> None:
    model = shape_of("gemma-3-27b-it")
    short, long = (predict(model, Setup(context=size)) for size in (context, context + more))

    assert short.part("cpu", "context") <= long.part("cpu", "context")


def test_a_tied_head_is_there_twice_once_it_is_on_a_gpu() -> None:
    model = shape_of("llama-3.2-1b-instruct")
    embedding = next(tensor.nbytes for tensor in model.tensors if tensor.name == "token_embd.weight")
    prediction = predict(model, Setup(context=4096, gpus=(Gpu("cuda0"),)))

    heads = {term.device: term.nbytes for term in prediction.terms if term.name == "head weights"}
    assert heads["cuda0"] >= embedding
    assert embedding == prediction.part("cpu", "model")


def test_experts_stay_in_ram_where_they_are_told_to() -> None:
    model = shape_of("gpt-oss-20b")
    setup = Setup(context=4096, gpus=(Gpu("vulkan0"),), experts_on_cpu=12)
    experts = {
        term.device: term.nbytes for term in predict(model, setup).terms if term.name == "expert weights"
    }

    assert experts["cpu"] == experts["vulkan0"]


def test_repacked_weights_have_a_row_of_their_own() -> None:
    model = shape_of("qwen3-8b")
    plain = predict(model, Setup(context=4096))
    packed = predict(model, Setup(context=4096, repacked=frozenset({12})))

    assert 0 == plain.part("cpu", "model", repacked=True)
    assert 0 < packed.part("cpu", "model", repacked=True)
    whole = packed.part("cpu", "model") + packed.part("cpu", "model", repacked=True)
    assert plain.part("cpu", "model") == whole


def test_what_has_no_closed_form_says_so() -> None:
    model = shape_of("llama-3.2-1b-instruct")
    renamed = {key.replace("llama.", "novelty.", 1): value for key, value in model.values.items()}
    novelty = replace(model, architecture="novelty", values=renamed)
    prediction = predict(novelty, Setup(context=4096))

    assert not prediction.closed_form
    assert "novelty" in prediction.unknown[0]
    assert 0 < prediction.part("cpu", "compute")


def test_a_projector_and_a_draft_are_added_and_the_projector_is_not_closed() -> None:
    model = shape_of("llama-3.1-8b-instruct")
    draft = shape_of("llama-3.2-1b-instruct")
    alone = predict(model, Setup(context=4096))
    both = predict(model, Setup(context=4096), draft=draft, projector=draft)

    added = both.total("cpu") - alone.total("cpu")
    drafted = predict(draft, Setup(context=4096))
    engine = sum(drafted.part("cpu", part) for part in ("model", "context", "compute"))
    assert added == engine + sum(tensor.nbytes for tensor in draft.tensors)
    assert not both.closed_form


@pytest.mark.parametrize(
    "name", ["gemma-3-27b-it", "qwen3-next-80b-a3b-instruct", "gpt-oss-20b", "lfm2-1.2b", "deepseek-v3"]
)
def test_few_layers_decide_the_compute_buffer_of_all(name: str) -> None:
    model = shape_of(name)
    shape, setup = read_shape(model), Setup(context=8192, type_k="q8_0", type_v="q8_0")
    asked = shape.extent(setup)
    whole = allocate(record(model, shape, setup, asked, layers=range(shape.n_layers)))

    assert whole == compute_bytes(model, shape, setup, asked)


def test_models_that_cannot_drop_tokens_keep_checkpoints() -> None:
    names = {
        name: {term.name for term in predict(shape_of(name), Setup(context=8192)).terms}
        for name in ("gemma-3-27b-it", "qwen3.5-27b", "qwen3-8b")
    }

    assert {"gemma-3-27b-it", "qwen3.5-27b"} == {
        name for name, terms in names.items() if "context checkpoints" in terms
    }


def test_the_types_a_cpu_repacks_follow_its_instruction_sets() -> None:
    assert frozenset() == repacked_types("x86_64", {"sse4_2"})
    assert {2, 12, 20, 39} == repacked_types("x86_64", {"avx2"})
    assert 10 in repacked_types("x86_64", {"avx2", "avx512f"})
    assert 8 in repacked_types("arm64", {"asimddp"})


def test_the_prompt_cache_is_a_limit_and_no_need() -> None:
    model = shape_of("lfm2-350m")
    some, none = (predict(model, Setup(context=4096, cache_ram_mib=size)) for size in (100, 0))

    assert Bytes(100 * MIB) == some.limit("cpu")
    assert none.total("cpu") == some.total("cpu")


@pytest.mark.parametrize("name", ["bge-m3", "embeddinggemma-300m"])
def test_encoders_have_no_prompt_cache(name: str) -> None:
    prediction = predict(shape_of(name), Setup(context=4096, cache_ram_mib=8192))

    assert Bytes(0) == prediction.limit("cpu")


@pytest.mark.parametrize(("name", "context"), [("bge-m3", 50), ("embeddinggemma-300m", 60)])
def test_a_short_context_does_not_limit_the_batch_of_a_non_causal_model(name: str, context: int) -> None:
    short, whole = (
        predict(shape_of(name), Setup(context=tokens, slots=1)).part("cpu", "compute")
        for tokens in (context, 256)
    )

    assert whole == short, "the context is rounded up to 256, and the batch is as large"


@pytest.mark.parametrize("kinds", [("q9_9", "f16", True), ("f16", "q8_0", False)])
def test_a_cache_that_the_engine_would_refuse_is_refused(kinds: tuple[str, str, bool]) -> None:
    with pytest.raises(UsageError):
        Setup(type_k=kinds[0], type_v=kinds[1], flash_attention=kinds[2])


def test_a_header_without_layers_is_refused() -> None:
    with pytest.raises(ModelFileError, match=r"no llama\.block_count"):
        predict(ModelMetadata("llama", {}, (), Bytes(0)), Setup())

"""Architectures that the catalogue has no dimensions of, against what a real llama-server printed.

`tests/data/architectures.json` holds the headers that `test-llama-archs` of llama.cpp b11434 writes, and what
that build reserves for them: flags, MiB of context, MiB of compute buffer.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from relayd.gguf.metadata import ModelMetadata, Tensor
from relayd.memory.compute import compute_bytes, grown_bytes, margin_bytes
from relayd.memory.predict import MARGIN, predict
from relayd.memory.refused import refused_by_engine, workable
from relayd.memory.setup import Setup
from relayd.memory.shape import read_shape
from relayd.units import MIB, Bytes

pytestmark = pytest.mark.pure

KNOWN = json.loads((Path(__file__).parents[1] / "data" / "architectures.json").read_text("utf-8"))
CASES = [(one["architecture"], *row) for one in KNOWN for row in one["rows"]]


@cache
def model_of(architecture: str) -> ModelMetadata:
    found: dict[str, Any] = next(one for one in KNOWN if one["architecture"] == architecture)
    values = {
        f"{architecture}.{key}": tuple(value) if isinstance(value, list) else value
        for key, value in found["values"].items()
    }
    tensors = tuple(Tensor(name, tuple(shape), 0, 0) for name, shape in found["tensors"].items())
    return ModelMetadata(architecture, values, tensors, Bytes(0))


def setup_of(arguments: str) -> Setup:
    words = arguments.split()
    values = dict(zip(words[::2], words[1::2], strict=True))
    return Setup(
        context=int(values["-c"]),
        slots=int(values["-np"]),
        unified="--kv-unified" in values,
        type_k=values.get("-ctk", "f16"),
        type_v=values.get("-ctv", "f16"),
        micro_batch=int(values.get("-ub", 512)),
        flash_attention=values.get("-fa", "on") == "on",
    )


@pytest.mark.parametrize(("architecture", "arguments", "context", "compute"), CASES)
def test_what_is_derived_is_what_the_engine_reserves(
    architecture: str, arguments: str, context: int, compute: int
) -> None:
    prediction = predict(model_of(architecture), setup_of(arguments))

    assert prediction.closed_form
    assert (context, compute) == (
        prediction.part("cpu", "context") // MIB,
        prediction.part("cpu", "compute") // MIB,
    )


def test_three_separate_slots_of_kimi_linear_are_one_cache() -> None:
    shape = read_shape(model_of("kimi-linear"))
    three, two = (Setup(context=4096, slots=slots) for slots in (3, 2))

    assert "not a multiple of 3 separate slots" in refused_by_engine(shape, three)
    assert workable(shape, three).unified
    assert not refused_by_engine(shape, workable(shape, three))
    assert two == workable(shape, two)


def test_keys_and_values_of_compressed_rows_have_one_type() -> None:
    shape = read_shape(model_of("deepseek32"))

    assert "differ" in refused_by_engine(shape, Setup(context=4096, slots=1, type_k="q8_0"))
    assert not refused_by_engine(shape, Setup(context=4096, slots=1, type_k="q8_0", type_v="q8_0"))


def test_buffers_that_grow_later_are_counted() -> None:
    """The first reservation is for few positions; a long prompt needs more."""
    model = model_of("minimax-m3")
    shape, setup = read_shape(model), Setup(context=65536, slots=1)
    asked = shape.extent(setup)
    grown = grown_bytes(model, shape, setup, asked)
    prediction = predict(model, setup)

    assert grown > 0.1 * compute_bytes(model, shape, setup, asked)
    assert grown == next(term.nbytes for term in prediction.terms if term.name == "larger passes")


def test_a_figure_that_is_rough_is_padded_and_says_so() -> None:
    known = model_of("deepseek32")
    values = {key.replace("deepseek32.", "novelty.", 1): value for key, value in known.values.items()}
    novelty = ModelMetadata("novelty", values, known.tensors, known.file_bytes)
    setup = Setup(context=32768, slots=1)
    exact, rough = predict(known, setup), predict(novelty, setup)

    assert MARGIN in {term.name for term in rough.terms}
    assert MARGIN not in {term.name for term in exact.terms}
    assert not rough.closed_form
    assert rough.total("cpu") > exact.total("cpu")
    assert 0 == margin_bytes(known, read_shape(known), setup, read_shape(known).extent(setup))

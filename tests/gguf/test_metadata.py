"""What a model says of itself, taken apart."""

import pytest

from relayd.errors import ModelFileError
from relayd.gguf import ArrayInfo, ModelMetadata, Tensor, Value
from relayd.units import Bytes

pytestmark = pytest.mark.pure

STRINGS = 8


def model(values: dict[str, Value]) -> ModelMetadata:
    return ModelMetadata("llama", values, (), Bytes(0))


@pytest.mark.parametrize(
    ("shape", "type_id", "expected"),
    [((64, 32), 0, 8192), ((256, 3, 2), 12, 864), ((), 1, 2), ((32, 0), 2, 0), ((5,), 24, 5)],
)
def test_a_tensor_takes_its_rows(shape: tuple[int, ...], type_id: int, expected: int) -> None:
    assert expected == Tensor("a", shape, type_id, 0).nbytes


def test_numbers_are_looked_up_under_the_architecture() -> None:
    metadata = model({"llama.rope.freq_base": 1e6, "llama.block_count": 2, "block_count": 3})

    assert (1e6, 2, None, 5) == (
        metadata.number("rope.freq_base"),
        metadata.number("block_count"),
        metadata.number("expert_count"),
        metadata.number("expert_count", 5),
    )
    assert (2, 0, 7) == tuple(
        metadata.whole(*question) for question in (("block_count",), ("gone",), ("gone", 7))
    )


@pytest.mark.parametrize("value", ["8", (8, 8), float("nan"), float("inf"), ArrayInfo(STRINGS, 8)])
def test_what_is_no_number_is_refused(value: Value) -> None:
    with pytest.raises(ModelFileError, match=r"llama\.block_count is .*: expected a number"):
        model({"llama.block_count": value}).number("block_count")


@pytest.mark.parametrize("value", ["8", 8.0, (8,)])
def test_what_is_no_whole_number_is_refused(value: Value) -> None:
    with pytest.raises(ModelFileError, match=r"llama\.block_count is .*: expected a whole number"):
        model({"llama.block_count": value}).whole("block_count")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(8, (8, 8, 8)), ((8, 0, 4), (8, 0, 4)), ((1, 2, 3, 4), (1, 2, 3)), ((True, False, True), (1, 0, 1))],
)
def test_each_layer_has_its_number(value: Value, expected: tuple[int, ...]) -> None:
    assert expected == model({"llama.heads": value}).per_layer("heads", 3)


def test_layers_without_a_key_have_the_default() -> None:
    assert (4, 4) == model({}).per_layer("heads", 2, 4)


@pytest.mark.parametrize("value", [(8, 8), (8, 8.5, 8), ("8",) * 3, "888", ArrayInfo(5, 70_000)])
def test_layers_that_lack_a_number_are_refused(value: Value) -> None:
    with pytest.raises(ModelFileError, match="expected 3 whole numbers from 0 up, one a layer"):
        model({"llama.heads": value}).per_layer("heads", 3)


@pytest.mark.parametrize("layers", [-1, 2**40])
def test_absurd_numbers_of_layers_are_refused(layers: int) -> None:
    with pytest.raises(ModelFileError, match="the limit is 65536"):
        model({}).per_layer("heads", layers)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"tokenizer.ggml.tokens": ArrayInfo(STRINGS, 300), "llama.vocab_size": 5}, 300),
        ({"llama.vocab_size": 5}, 5),
        ({"tokenizer.ggml.tokens": "none"}, 0),
        ({}, 0),
    ],
)
def test_the_vocabulary_is_counted_by_its_tokens(values: dict[str, Value], expected: int) -> None:
    assert expected == model(values).n_vocab


def test_messages_quote_little_of_a_long_value() -> None:
    with pytest.raises(ModelFileError) as refused:
        model({"llama.heads": "\x1b" * 100_000}).number("heads")

    assert len(str(refused.value)) < 150
    assert "\x1b" not in str(refused.value)

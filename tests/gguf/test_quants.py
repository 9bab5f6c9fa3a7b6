"""The table of types: complete, and the same as what the gguf package knows."""

import gguf
import pytest

from relayd.errors import ModelFileError
from relayd.gguf import FILE_TYPES, QUANTS, bits_per_weight, row_bytes

pytestmark = pytest.mark.pure

KNOWN_WRONG = {9}
"""Q8_1: the package says 40 bytes, ggml-common.h asserts two halves and 32 weights, 36."""


def test_sizes_equal_the_gguf_package() -> None:
    expected = {
        int(kind): (kind.name, *sizes)
        for kind, sizes in gguf.GGML_QUANT_SIZES.items()
        if kind in QUANTS and kind not in KNOWN_WRONG
    }

    assert expected == {
        number: (quant.name, quant.block, quant.block_bytes)
        for number, quant in QUANTS.items()
        if number in expected
    }
    assert len(expected) >= 33


def test_no_type_of_the_gguf_package_is_missing() -> None:
    assert set() == {int(kind) for kind in gguf.GGML_QUANT_SIZES} - QUANTS.keys()


def test_every_number_that_ggml_still_reads_is_there() -> None:
    assert set(range(43)) - {4, 5, *range(31, 34), *range(36, 39)} == set(QUANTS)


def test_recipes_are_called_as_the_gguf_package_calls_them() -> None:
    expected = {
        int(kind): kind.name.removeprefix("ALL_").removeprefix("MOSTLY_")
        for kind in gguf.LlamaFileType
        if kind != gguf.LlamaFileType.GUESSED
    }

    assert expected == {number: name for number, name in FILE_TYPES.items() if number in expected}
    assert {"Q2_0"} == {FILE_TYPES[number] for number in FILE_TYPES.keys() - expected}


@pytest.mark.parametrize(
    ("type_id", "weights", "expected"),
    [
        (0, 3, 12),
        (1, 3, 6),
        (8, 64, 68),
        (12, 4096, 2304),
        (39, 32, 17),
        (40, 128, 72),
        (42, 64, 18),
        (2, 0, 0),
    ],
)
def test_a_row_is_whole_blocks(type_id: int, weights: int, expected: int) -> None:
    assert expected == row_bytes(type_id, weights)


@pytest.mark.parametrize(("type_id", "expected"), [(0, 32.0), (8, 8.5), (14, 6.5625), (41, 1.125)])
def test_bits_per_weight_include_the_scales(type_id: int, expected: float) -> None:
    assert expected == bits_per_weight(type_id)


def test_a_row_of_broken_blocks_is_refused() -> None:
    with pytest.raises(ModelFileError, match="100 weights cannot be Q4_0: its blocks hold 32"):
        row_bytes(2, 100)


@pytest.mark.parametrize("type_id", [4, 31, 38, 43, -1])
def test_unknown_and_removed_types_are_refused(type_id: int) -> None:
    with pytest.raises(ModelFileError, match=f"{type_id} is not a tensor type"):
        bits_per_weight(type_id)

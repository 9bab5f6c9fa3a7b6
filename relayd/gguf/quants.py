"""Tensor types of ggml: the bytes of a row of weights."""

from collections.abc import Mapping
from dataclasses import dataclass

from relayd.errors import ModelFileError
from relayd.units import Bytes


@dataclass(frozen=True, slots=True)
class Quant:
    """One storage type of ggml.

    Attributes:
        id: Its number in `enum ggml_type`, as tensor tables spell it.
        name: Its name, as `llama-quantize` spells it.
        block: Weights that are stored together; a row holds a whole number of blocks.
        block_bytes: Bytes a block takes.
    """

    id: int
    name: str
    block: int
    block_bytes: int


QUANTS: Mapping[int, Quant] = {
    quant.id: quant
    for quant in (
        Quant(0, "F32", 1, 4),
        Quant(1, "F16", 1, 2),
        Quant(2, "Q4_0", 32, 18),
        Quant(3, "Q4_1", 32, 20),
        Quant(6, "Q5_0", 32, 22),
        Quant(7, "Q5_1", 32, 24),
        Quant(8, "Q8_0", 32, 34),
        Quant(9, "Q8_1", 32, 36),
        Quant(10, "Q2_K", 256, 84),
        Quant(11, "Q3_K", 256, 110),
        Quant(12, "Q4_K", 256, 144),
        Quant(13, "Q5_K", 256, 176),
        Quant(14, "Q6_K", 256, 210),
        Quant(15, "Q8_K", 256, 292),
        Quant(16, "IQ2_XXS", 256, 66),
        Quant(17, "IQ2_XS", 256, 74),
        Quant(18, "IQ3_XXS", 256, 98),
        Quant(19, "IQ1_S", 256, 50),
        Quant(20, "IQ4_NL", 32, 18),
        Quant(21, "IQ3_S", 256, 110),
        Quant(22, "IQ2_S", 256, 82),
        Quant(23, "IQ4_XS", 256, 136),
        Quant(24, "I8", 1, 1),
        Quant(25, "I16", 1, 2),
        Quant(26, "I32", 1, 4),
        Quant(27, "I64", 1, 8),
        Quant(28, "F64", 1, 8),
        Quant(29, "IQ1_M", 256, 56),
        Quant(30, "BF16", 1, 2),
        Quant(34, "TQ1_0", 256, 54),
        Quant(35, "TQ2_0", 256, 66),
        Quant(39, "MXFP4", 32, 17),
        Quant(40, "NVFP4", 64, 36),
        Quant(41, "Q1_0", 128, 18),
        Quant(42, "Q2_0", 64, 18),
    )
}
"""Every type of llama.cpp b11434 (ggml.h `enum ggml_type`, sizes from ggml-common.h).

The missing numbers (4, 5, 31 to 33, 36 to 38) were types that the engine no longer reads.
"""

FILE_TYPES: Mapping[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
}  # fmt: skip
"""`general.file_type` -> the recipe a file was quantized by (llama.h `enum llama_ftype`).

A recipe mixes types; sizes follow from the tensor table alone.
"""


def row_bytes(type_id: int, n: int) -> Bytes:
    """Return what a row of `n` weights takes (ggml.c `ggml_row_size`).

    Raises:
        ModelFileError: No type has this number, or `n` is not a whole number of its blocks.
    """
    quant = _quant(type_id)
    blocks, rest = divmod(n, quant.block)
    if rest:
        raise ModelFileError(f"a row of {n} weights cannot be {quant.name}: its blocks hold {quant.block}")
    return Bytes(blocks * quant.block_bytes)


def bits_per_weight(type_id: int) -> float:
    """Return the bits a weight takes, its share of the block's scales included.

    Raises:
        ModelFileError: No type has this number.
    """
    quant = _quant(type_id)
    return quant.block_bytes * 8 / quant.block


def _quant(type_id: int) -> Quant:
    try:
        return QUANTS[type_id]
    except KeyError:
        raise ModelFileError(
            f"{type_id} is not a tensor type that relayd knows", remedy="Update relayd, or get another file."
        ) from None

"""How far quantized weights and caches move a model's answers (KL divergence).

The measure is the Kullback-Leibler divergence (KLD) of the next token's distribution from that of the
16-bit model, in nats. Divergences of weights and cache add up as long as they are small.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, inf, log

KLD: Mapping[str, float] = {
    "F32": 0.0, "BF16": 0.0, "F16": 0.0, "Q8_0": 0.001355, "Q6_K": 0.005452, "Q5_K_M": 0.010762,
    "Q5_K_S": 0.016595, "Q5_1": 0.018045, "Q5_0": 0.022239, "Q4_K_M": 0.031273, "IQ4_NL": 0.039714,
    "IQ4_XS": 0.040371, "Q4_K_S": 0.043136, "Q4_1": 0.071683, "Q4_0": 0.07194, "Q3_K_L": 0.087176,
    "Q3_K_M": 0.101913, "IQ3_M": 0.113927, "IQ3_S": 0.123642, "IQ3_XS": 0.154103, "IQ3_XXS": 0.204028,
    "Q3_K_S": 0.228217, "IQ2_M": 0.36221, "Q2_K": 0.445132, "Q2_K_S": 0.448178, "IQ2_S": 0.487997,
    "IQ2_XS": 0.606989, "IQ2_XXS": 0.902247, "IQ1_M": 1.547871, "IQ1_S": 2.505066,
}  # fmt: skip
"""Quantization -> KLD of Llama-3-8B on wikitext-2, without an importance matrix.

llama.cpp tools/perplexity/README.md; types measured only with a matrix are divided by `IMATRIX`.
"""

IMATRIX = 0.9
"""Share of the divergence that an importance matrix leaves (that README: Q4_K_M 0.90, Q3_K_M 0.83)."""

BY_BITS = (
    (1.9, 2.505), (2.4, 0.902), (2.95, 0.445), (3.5, 0.16), (4.0, 0.1019), (4.89, 0.0313), (5.7, 0.0108),
    (6.56, 0.00545), (8.5, 0.00136), (16.0, 0.00001),
)  # fmt: skip
"""Bits a weight -> KLD: the best types of the table by size, for mixes that no table names."""

MOST_BEYOND_NAME = 1.3
"""Bits a weight that a type takes at most beyond the figure in its name: Q3_K_L, 4.30.

llama.cpp tools/quantize/README.md.
"""

_BITS = re.compile(r"(?<=[QP])\d")

SIZE_EXPONENT, SIZE_LIMITS = 0.4, (0.4, 1.5)
"""Divergence shrinks with (8e9 / parameters) ^ 0.4, within these limits.

A prior, as larger models lose less: for Qwen3.6-27B it gives 0.017 (Q4_K_M, with a matrix) and 0.063 (Q3_K_M)
where a community run measured 0.025 and 0.059.
"""

CACHE_KLD: Mapping[str, float] = {
    "f32": 0.0, "f16": 0.0, "bf16": 0.0, "q8_0": 0.0005, "q5_1": 0.0018, "q5_0": 0.0022, "q4_1": 0.004,
    "q4_0": 0.004, "iq4_nl": 0.004,
}  # fmt: skip
"""Type of keys or of values -> KLD.

q8_0 for both 0.00098 and q5_1 for values 0.0018 (Llama-3-8B, llama.cpp pull request 7412). 4 bits cost 0.22 %
of perplexity with rotation (pull request 21038), which the table above has at 0.004; keys and values get it
each, as reasoning suffers more than perplexity.
"""

QAT_AS = "Q5_K_S"
"""What weights trained for their quantization are rated as: a prior, their divergence is unpublished."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """How the weights of a file are stored.

    Attributes:
        name: As uploaders write it: `Q4_K_M`, `UD-Q4_K_XL`, `MXFP4`.
        bits_per_weight: Of the whole file; 0 when not known.
        kld: Published divergence of this very file; None without.
        imatrix: Whether it was made with an importance matrix.
        trained: Whether the model was trained for it (QAT), or published in it alone (gpt-oss in MXFP4).
    """

    name: str
    bits_per_weight: float = 0.0
    kld: float | None = None
    imatrix: bool = False
    trained: bool = False


def weights_divergence(quantization: Quantization, parameters: float) -> float | None:
    """Return the KLD of a file; None if unknown.

    It is the published one, else that of its name, else that of its bits, the latter two scaled to its size.
    """
    if quantization.kld is not None:
        return quantization.kld
    found = coarseness(quantization)
    if found is None:
        return None
    return found * _scale(parameters) * (IMATRIX if quantization.imatrix else 1.0)


def cache_divergence(type_k: str, type_v: str, parameters: float) -> float:
    """Return the KLD of a cache, scaled like that of weights; an unmeasured type counts as the worst."""
    worst = max(CACHE_KLD.values())
    return (CACHE_KLD.get(type_k, worst) + CACHE_KLD.get(type_v, worst)) * _scale(parameters)


def by_bits(bits: float) -> float:
    """Return the KLD that `bits` a weight allow, interpolated in its logarithm."""
    sizes = [size for size, _ in BY_BITS]
    index = min(max(bisect_left(sizes, bits), 1), len(BY_BITS) - 1)
    (low, above), (high, below) = BY_BITS[index - 1 : index + 1]
    share = min(max((bits - low) / (high - low), 0.0), 1.0)
    return exp(log(above) + share * (log(below) - log(above)))


def _scale(parameters: float) -> float:
    low, high = SIZE_LIMITS
    return min(max(float((8e9 / max(parameters, 1.0)) ** SIZE_EXPONENT), low), high)


def coarseness(quantization: Quantization) -> float | None:
    """Return the KLD of a file's type at 8 billion parameters, whatever the model; None if unknown."""
    name = quantization.name.upper()
    if quantization.trained:
        return KLD[QAT_AS] if name.removeprefix("UD-").startswith("Q") else 0.0
    if name in KLD:
        return KLD[name]
    if quantization.bits_per_weight:
        return by_bits(min(quantization.bits_per_weight, _most_bits(name)))
    return None


def _most_bits(name: str) -> float:
    """Return the bits of a weight of a layer at most: embeddings are finer, and most of a small model."""
    digit = _BITS.search(name)
    return int(digit[0]) + MOST_BEYOND_NAME if digit else inf

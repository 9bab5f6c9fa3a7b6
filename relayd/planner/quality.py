"""Answer quality of a quantized model for one use, from 0 to 100.

    score = mix of 100 * n / (n + 1.2) and benchmarks - 25 * sqrt(KLD),    n = sqrt(effective size / 1e9)
    effective size = sqrt(parameters * active parameters) * 2 ^ (years since 2024-07) * fit for the use

Benchmarks count where a public page has a figure (`planner/evidence.py`); no test covers every model. The
rest are four priors, each a line below: they order models of one time by size, siblings by quantization, and
prefer a larger model at 4 bits to half of it at 8 (but not at 3). The score is neither a probability nor a
percentage of anything.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from typing import Literal

from relayd.gguf.metadata import ModelMetadata
from relayd.memory.architectures import HEADLESS
from relayd.planner.divergence import Quantization, cache_divergence, weights_divergence
from relayd.planner.evidence import mixed, told

HALF = 1.2
"""Root of the size, in billions as of 2024-07, that scores 50: 1B scores 45, 8B 70, 32B 82, 70B 87."""

REFERENCE = (2024, 7)
"""Month of Llama-3.1-8B, whose size counts as it is."""

DOUBLING_YEARS = 1.0
"""Time in which half the parameters come to do the same work.

Xiao et al., "Densing Law of LLMs" (2024), finds about three months on benchmarks; a year is what is left when
one distrusts benchmarks.
"""

YEARS_LIMITS = (-1.0, 2.5)
"""A model may win or lose no more than this by its date."""

NOT_MADE_FOR = 0.5
"""Share of its size that a general model has in code or reasoning, a coder in chat: one doubling behind."""

LOSS = 25.0
"""Points for sqrt(KLD) = 1. RMS of the change of a token's probability is 31 % * sqrt(KLD) (llama.cpp
tools/perplexity/README.md): a point is 1.2 % of that."""

UNKNOWN_KLD = 0.5
"""Divergence of a quantization that neither a table nor a size shows: that of the worst still in use."""


class Use(StrEnum):
    """What a model is wanted for."""

    CHAT = "chat"
    AGENT = "agent"
    CODE = "code"
    REASONING = "reasoning"
    VISION = "vision"
    EMBEDDING = "embedding"
    LONG = "long"


ASKS: Mapping[Use, str] = {Use.AGENT: "tools", Use.LONG: "chat"}
"""The capability that a use asks for, where its own name is none."""


RANK = 4
"""`pooling_type` of a model that scores documents for a query (llama.h `LLAMA_POOLING_TYPE_RANK`)."""


Pooling = Literal["", "mean", "rank"]


def made_for(header: ModelMetadata) -> Use:
    """Return what a file is made for: vectors and scores where it pools them or is an encoder, else chat."""
    arch = header.architecture
    encoder = arch in HEADLESS or arch in _EMBEDDERS or header.values.get(f"{arch}.attention.causal") is False
    return Use.EMBEDDING if encoder or (_pooling(header) and not _chats(header)) else Use.CHAT


def pooling(header: ModelMetadata) -> Pooling:
    """Return the way to make one vector of an input that llama-server is to be given; "" is none.

    Without a way of its own (a model for chat) the engine refuses `/v1/embeddings`: there it is their mean.
    """
    own = _pooling(header)
    return "rank" if own == RANK else "" if own else "mean"


def _pooling(header: ModelMetadata) -> object:
    return header.values.get(f"{header.architecture}.pooling_type")


def _chats(header: ModelMetadata) -> bool:
    """Return whether a file that pools is one for chat all the same: a template, and no name for vectors.

    Models for vectors made of one for chat keep its template, so that alone decides nothing.
    """
    if _pooling(header) == RANK or "tokenizer.chat_template" not in header.values:
        return False
    return not any(_NAME_FOR_VECTORS.search(str(header.values.get(key, ""))) for key in _NAMES)


_NAMES = ("general.name", "general.basename", "general.finetune")

_NAME_FOR_VECTORS = re.compile(
    r"embed|retriev|rerank|similarity|\b(?:gte|e5|bge|sfr|harrier)\b", re.IGNORECASE
)
"""Words in the names of published models for vectors that are made of models for chat."""


_EMBEDDERS = frozenset({"llama-embed"})
"""Architectures with a head of their own that are published for vectors only."""


EXCLUSIVE = frozenset({Use.VISION, Use.EMBEDDING, Use.AGENT})
"""Uses that a model has or has not: images, vectors, calls of tools."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What quality depends on.

    Attributes:
        parameters: Weights of the text model.
        active_parameters: Weights that work on a token; None when all do.
        released: Year and month, `2025-07`; "" counts as the reference.
        capabilities: What its publisher made it for: the uses below, and others.
        context: Tokens it was trained on; 0 where that is not known.
        benchmarks: Test → its published figure.
    """

    parameters: float
    active_parameters: float | None = None
    released: str = ""
    capabilities: frozenset[str] = frozenset({"chat"})
    context: int = 0
    benchmarks: tuple[tuple[str, float], ...] = ()

    def can(self, use: Use) -> bool:
        """Return whether the model can be used so at all."""
        if use in EXCLUSIVE:
            return ASKS.get(use, use) in self.capabilities
        return bool(self.capabilities - {Use.EMBEDDING, "rerank"})


@dataclass(frozen=True, slots=True)
class Quality:
    """A score and what it is made of, in points.

    Attributes:
        score: From 0 to 100.
        model: What the model would score in 16 bits.
        weights_loss: What its quantization costs.
        cache_loss: What the types of its cache cost.
    """

    score: float
    model: float
    weights_loss: float
    cache_loss: float


def quality(
    model: ModelFacts, quantization: Quantization, use: Use, type_k: str = "f16", type_v: str = "f16"
) -> Quality:
    """Return how good a model is in this form; 0 when it cannot be used so."""
    if not model.can(use):
        return Quality(0.0, 0.0, 0.0, 0.0)
    whole = model_score(model, use)
    weights = weights_divergence(quantization, model.parameters)
    weights = UNKNOWN_KLD if weights is None else weights
    weights_loss = LOSS * sqrt(weights)
    cache_loss = LOSS * sqrt(weights + cache_divergence(type_k, type_v, model.parameters)) - weights_loss
    return Quality(max(0.0, whole - weights_loss - cache_loss), whole, weights_loss, cache_loss)


def model_score(model: ModelFacts, use: Use) -> float:
    """Return what a model would score in 16 bits."""
    root = sqrt(effective_parameters(model, use) / 1e9)
    return mixed(100 * root / (root + HALF), model.benchmarks, use)


def evidence(model: ModelFacts, use: Use) -> tuple[str, ...]:
    """Return the benchmarks that the quality of a model for a use rests on; none where only size and date."""
    return tuple(dict.fromkeys(test.title for test, _ in told(model.benchmarks, use)))


def effective_parameters(model: ModelFacts, use: Use) -> float:
    """Return the dense size of 2024-07 that does the same work.

    Experts count by the geometric mean of all and active weights, the usual rule of thumb: Qwen3-30B-A3B
    is rated as 10B.
    """
    size = sqrt(model.parameters * (model.active_parameters or model.parameters))
    fit = 1.0 if ASKS.get(use, use) in model.capabilities else NOT_MADE_FOR
    return size * fit * 2 ** (_years(model.released) / DOUBLING_YEARS)


def _years(released: str) -> float:
    """Return the years from the reference month, within the limits."""
    year, _, month = released.partition("-")
    if not year.isdigit():
        return 0.0
    months = (
        12 * (int(year) - REFERENCE[0]) + (int(month) if month.isdigit() else REFERENCE[1]) - REFERENCE[1]
    )
    return min(max(months / 12, YEARS_LIMITS[0]), YEARS_LIMITS[1])

"""Does the score order models as its documentation says?"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from relayd.gguf.metadata import ModelMetadata
from relayd.planner.divergence import (
    KLD,
    Quantization,
    by_bits,
    cache_divergence,
    weights_divergence,
)
from relayd.planner.quality import ModelFacts, Use, effective_parameters, made_for, quality
from relayd.units import Bytes

pytestmark = pytest.mark.pure

LADDER = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_K_S", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K")
"""Each takes fewer bytes than the one before."""

sizes = some.floats(1e8, 1e12)
uses = some.sampled_from(Use)
capabilities = some.frozensets(
    some.sampled_from(["chat", "code", "reasoning", "vision", "embedding", "tools"])
)
dates = some.builds("{}-{:02}".format, some.integers(2022, 2030), some.integers(1, 12))
models = some.builds(ModelFacts, sizes, some.none() | some.floats(1e8, 1e9), dates, capabilities)
quantizations = some.builds(
    Quantization, some.sampled_from([*LADDER, "UD-Q4_K_XL", "MXFP4", "?"]), some.floats(0, 16)
)
caches = some.sampled_from(["f16", "q8_0", "q5_1", "q4_0", "unheard_of"])


def score(parameters: float, quant: str, released: str = "2025-07", **cache: str) -> float:
    model = ModelFacts(parameters, released=released)
    return quality(model, Quantization(quant), Use.CHAT, **cache).score


@given(models, quantizations, uses, caches, caches)
def test_a_score_is_between_0_and_100(
    model: ModelFacts, quantization: Quantization, use: Use, type_k: str, type_v: str
) -> None:
    found = quality(model, quantization, use, type_k, type_v)

    assert 0 <= found.score <= 100
    assert min(found.weights_loss, found.cache_loss) >= 0


@given(models, uses)
def test_a_bigger_quantization_is_never_worse(model: ModelFacts, use: Use) -> None:
    scores = [quality(model, Quantization(name), use).score for name in LADDER]

    assert sorted(scores, reverse=True) == scores


@given(some.floats(1, 16), some.floats(1, 16), sizes)
def test_more_bits_are_never_worse(one: float, other: float, parameters: float) -> None:
    fewer, more = sorted((one, other))

    assert by_bits(fewer) >= by_bits(more)
    coarse = weights_divergence(Quantization("?", fewer), parameters)
    fine = weights_divergence(Quantization("?", more), parameters)
    assert coarse is not None
    assert fine is not None
    assert coarse >= fine


@given(sizes, some.floats(1, 10), dates, uses)
def test_a_bigger_model_of_one_time_is_never_worse(
    parameters: float, factor: float, released: str, use: Use
) -> None:
    able = frozenset({*Use, "tools"})
    small, big = (ModelFacts(size, None, released, able) for size in (parameters, parameters * factor))

    assert (
        quality(small, Quantization("Q4_K_M"), use).score
        <= quality(big, Quantization("Q4_K_M"), use).score + 1e-9
    )


@given(models, uses)
def test_a_later_model_of_one_size_is_never_worse(model: ModelFacts, use: Use) -> None:
    earlier, later = (
        ModelFacts(model.parameters, model.active_parameters, date, model.capabilities)
        for date in ("2024-01", "2025-06")
    )

    assert effective_parameters(earlier, use) < effective_parameters(later, use)


@pytest.mark.parametrize("parameters", [8e9, 14e9, 32e9, 70e9, 400e9])
@pytest.mark.parametrize(("finer", "coarser"), list(pairwise(LADDER)))
def test_q8_0_cache_costs_less_than_the_next_quantization_down(
    parameters: float, finer: str, coarser: str
) -> None:
    assert score(parameters, finer, type_k="q8_0", type_v="q8_0") > score(parameters, coarser)


@pytest.mark.parametrize("half", [1e9, 2e9, 4e9, 8e9, 16e9, 35e9])
@pytest.mark.parametrize("released", ["2024-07", "2025-07", "2026-04"])
def test_a_model_at_4_bits_is_better_than_half_of_it_at_8(half: float, released: str) -> None:
    assert score(2 * half, "Q4_K_M", released) > score(half, "Q8_0", released)


@pytest.mark.parametrize("half", [1e9, 2e9, 4e9])
def test_a_small_model_at_2_bits_is_worse_than_half_of_it_at_8(half: float) -> None:
    assert score(2 * half, "Q2_K") < score(half, "Q8_0")


def test_experts_lie_between_their_active_and_all_weights() -> None:
    mixed = effective_parameters(ModelFacts(30.5e9, 3.3e9, "2024-07"), Use.CHAT)

    assert 3.3e9 < mixed < 30.5e9


@pytest.mark.parametrize("use", [Use.VISION, Use.EMBEDDING])
def test_who_cannot_see_or_embed_scores_nothing_for_it(use: Use) -> None:
    assert 0.0 == quality(ModelFacts(70e9), Quantization("F16"), use).score


def test_an_embedding_model_does_not_chat() -> None:
    model = ModelFacts(8e9, capabilities=frozenset({"embedding"}))

    assert not model.can(Use.CHAT)


def test_a_coder_beats_its_general_sibling_at_code_and_loses_at_chat() -> None:
    general, coder = ModelFacts(30e9), ModelFacts(30e9, capabilities=frozenset({"code"}))
    stored = Quantization("Q4_K_M")

    assert quality(coder, stored, Use.CODE).score > quality(general, stored, Use.CODE).score
    assert quality(coder, stored, Use.CHAT).score < quality(general, stored, Use.CHAT).score


def test_a_published_divergence_wins_over_the_table() -> None:
    file = Quantization("Q4_K_M", kld=0.0204)

    assert 0.0204 == weights_divergence(file, 27e9)


@pytest.mark.parametrize(
    ("quant", "imatrix", "measured"),
    [("Q4_K_M", True, 0.0247), ("IQ4_XS", True, 0.0273), ("Q3_K_M", False, 0.0588)],
)
def test_the_scaled_table_is_within_half_of_qwen_3_6_27b_as_measured(
    quant: str, imatrix: bool, measured: float
) -> None:
    """Community comparison on wikitext, 580 chunks."""
    found = weights_divergence(Quantization(quant, imatrix=imatrix), 26.9e9)

    assert measured == pytest.approx(found, rel=0.5)


def test_weights_published_in_four_bits_lose_nothing() -> None:
    assert 0.0 == weights_divergence(Quantization("MXFP4", trained=True), 20.9e9)


def test_weights_trained_for_q4_0_are_rated_above_it() -> None:
    trained = weights_divergence(Quantization("Q4_0", trained=True), 8e9)

    assert trained is not None
    assert trained < KLD["Q4_0"]


@pytest.mark.parametrize(
    ("name", "kind", "use"),
    [
        ("Qwen3 4B Instruct", 3, Use.CHAT),
        ("Qwen3 Embedding 4B", 3, Use.EMBEDDING),
        ("gte Qwen2 7B Instruct", 3, Use.EMBEDDING),
        ("Qwen3 4B Instruct", 4, Use.EMBEDDING),
    ],
)
def test_a_template_and_no_name_for_vectors_make_a_file_that_pools_one_for_chat(
    name: str, kind: int, use: Use
) -> None:
    template = {"tokenizer.chat_template": "{{ messages }}"}
    header = ModelMetadata(
        "qwen3", {"qwen3.pooling_type": kind, "general.name": name, **template}, (), Bytes(0)
    )
    assert use is made_for(header)


def test_an_unknown_quantization_has_no_divergence_of_its_own() -> None:
    assert weights_divergence(Quantization("?"), 8e9) is None
    assert 0 < quality(ModelFacts(8e9), Quantization("?"), Use.CHAT).score < score(8e9, "Q3_K_S", "2024-07")


def test_a_cache_type_nobody_measured_counts_as_the_worst() -> None:
    assert cache_divergence("q4_0", "q4_0", 8e9) == cache_divergence("q2_k", "q2_k", 8e9)


@pytest.mark.parametrize(
    ("architecture", "values", "use"),
    [
        ("llama", {}, Use.CHAT),
        ("llama", {"llama.attention.causal": True}, Use.CHAT),
        ("bert", {}, Use.EMBEDDING),
        ("llama-embed", {}, Use.EMBEDDING),
        ("qwen2", {"qwen2.pooling_type": 3}, Use.EMBEDDING),
        ("qwen2", {"qwen2.attention.causal": False}, Use.EMBEDDING),
    ],
)
def test_an_encoder_is_made_for_vectors_also_when_it_names_no_pooling(
    architecture: str, values: dict[str, int | bool], use: Use
) -> None:
    assert use is made_for(ModelMetadata(architecture, values, (), Bytes(0)))

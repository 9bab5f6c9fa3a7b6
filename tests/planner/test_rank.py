"""Do gates come before scores, and are the reasons the ones that decided?"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from relayd.planner.divergence import Quantization
from relayd.planner.processor import Tag
from relayd.planner.quality import ModelFacts, Quality, Use, quality
from relayd.planner.rank import Candidate, Request, composite, judge, rank, speed_score
from relayd.planner.speed import Estimate
from relayd.planner.uses import PROFILES

pytestmark = pytest.mark.pure


def candidate(
    name: str = "model",
    parameters: float = 8e9,
    quant: str = "Q4_K_M",
    speed: float = 20,
    context: int = 8192,
    bits: float = 0,
) -> Candidate:
    model, stored = ModelFacts(parameters, released="2025-04"), Quantization(quant, bits)
    return Candidate(
        name, model, stored, quality(model, stored, Use.CHAT),
        Estimate(speed, speed / 1.2, speed / 0.8, Tag.MODELLED), context, license="apache-2.0",
    )  # fmt: skip


qualities = some.builds(Quality, some.floats(0, 100), some.just(100.0), some.just(0.0), some.just(0.0))
estimates = some.builds(
    lambda value: Estimate(value, value / 2, value * 2, Tag.WIDE), some.floats(0.1, 10_000)
)
candidates = some.builds(
    Candidate,
    name=some.text("abc", min_size=1, max_size=3),
    model=some.builds(ModelFacts, some.floats(1e8, 1e12)),
    quantization=some.builds(Quantization, some.sampled_from(["Q8_0", "Q4_K_M", "IQ2_M"])),
    quality=qualities,
    speed=estimates,
    context=some.integers(256, 262144),
    shortfall=some.sampled_from(["", "needs 20 GiB of GPU memory, has 12"]),
)
requests = some.builds(Request, use=some.sampled_from([Use.CHAT, Use.CODE, Use.REASONING]))


several = some.lists(candidates, max_size=8, unique_by=lambda one: one.name)


@given(several.flatmap(lambda found: some.tuples(some.just(found), some.permutations(found))), requests)
def test_the_order_given_does_not_matter(
    found: tuple[list[Candidate], list[Candidate]], request: Request
) -> None:
    given_so, given_otherwise = found

    assert rank(given_so, request) == rank(given_otherwise, request)


@given(several, requests)
def test_the_refused_come_last_and_every_candidate_has_reasons(
    found: list[Candidate], request: Request
) -> None:
    ranked = rank(found, request)

    assert sorted(one.refused for one in ranked) == [one.refused for one in ranked]
    assert len(found) == len(ranked)
    assert all(one.reasons for one in ranked)
    assert all(0 <= one.score <= 100.000001 for one in ranked)


@given(candidates, requests, some.floats(0, 50), some.floats(1, 10), some.integers(0, 100_000))
def test_better_faster_or_longer_never_scores_less(
    one: Candidate, request: Request, better: float, faster: float, longer: int
) -> None:
    before = composite(one, request)

    assert before <= composite(
        replace(one, quality=replace(one.quality, score=one.quality.score + better)), request
    )
    assert before <= composite(replace(one, speed=one.speed.times(faster)), request) + 1e-9
    assert before <= composite(replace(one, context=one.context + longer), request)


MIT_ONLY = Request(licenses=frozenset({"mit"}))


@pytest.mark.parametrize(
    ("one", "asked", "sentence"),
    [
        (
            replace(candidate(), obstacle="it needs llama.cpp b9000"),
            Request(),
            "This engine cannot load it: it needs llama.cpp b9000.",
        ),
        (candidate(), MIT_ONLY, "Its licence apache-2.0 is not among those accepted."),
        (
            replace(candidate(), license=""),
            MIT_ONLY,
            "Its licence is not known and is not among those accepted.",
        ),
        (replace(candidate(), has_template=False), Request(), "Its file has no chat template."),
        (candidate(), Request(Use.VISION), "It is not made for vision."),
        (
            replace(candidate(), quantization=Quantization("IQ1_S")),
            Request(),
            "IQ1_S is too coarse for 8B parameters: a smaller model in 4 bits answers better.",
        ),
        (
            replace(candidate(), shortfall="needs 20 GiB, has 12"),
            Request(),
            "It does not fit: needs 20 GiB, has 12.",
        ),
        (
            candidate(),
            Request(min_context=32768),
            "A slot holds 8192 tokens of context, 32768 are asked for.",
        ),
        (candidate(), Request(min_speed=50), "20 tokens/s (modelled) is below 50 tokens/s."),
    ],
    ids=["engine", "licence", "no licence", "template", "use", "quantization", "memory", "context", "speed"],
)
def test_a_shut_gate_refuses_and_says_why(one: Candidate, asked: Request, sentence: str) -> None:
    found = judge(one, asked)

    assert found.refused
    assert (sentence,) == found.reasons


def test_a_better_model_too_slow_to_read_along_is_refused() -> None:
    good, quick = candidate("70b", 70e9, speed=1.3), candidate("8b", 8e9, speed=40)

    assert ["8b", "70b"] == [one.candidate.name for one in rank([good, quick], Request())]
    assert ("1.3 tokens/s (modelled) is below 6 tokens/s.",) == judge(good, Request()).reasons


def test_speed_beyond_what_is_noticed_does_not_beat_quality() -> None:
    good, quick = candidate("32b", 32e9, speed=35), candidate("1b", 1e9, speed=400)

    assert "32b" == rank([quick, good], Request())[0].candidate.name


def test_speed_counts_from_the_floor_to_enough() -> None:
    profile = PROFILES[Use.CHAT]

    assert 0.0 == speed_score(profile.floor, profile)
    assert 100.0 == speed_score(profile.enough, profile)
    assert 100.0 == speed_score(10 * profile.enough, profile)


def test_an_agent_is_judged_by_the_seconds_of_a_turn() -> None:
    able = ModelFacts(8e9, released="2025-04", capabilities=frozenset({"chat", "tools"}))
    slow = replace(candidate(context=65536), model=able, pace=800 / 400)

    assert ("A turn of 16,384 tokens read and 800 written takes 400 s; 300 s are the limit.",) == judge(
        slow, Request(Use.AGENT)
    ).reasons


def test_a_model_that_calls_no_tools_is_no_agent() -> None:
    assert ("It is not made for agent.",) == judge(candidate(context=65536), Request(Use.AGENT)).reasons


def test_a_use_has_a_context_that_is_needed() -> None:
    assert ("A slot holds 4096 tokens of context, 8192 are needed for chat.",) == judge(
        candidate(context=4096), Request()
    ).reasons
    assert not judge(candidate(context=4096), Request(lenient=True)).refused


def test_the_weights_of_each_use_add_up() -> None:
    assert [1.0] * len(Use) == [pytest.approx(sum(PROFILES[use].weights)) for use in Use]


def test_equals_are_ordered_by_name() -> None:
    assert ["a", "b"] == [one.candidate.name for one in rank([candidate("b"), candidate("a")], Request())]


def test_a_large_model_may_be_coarse_where_a_small_one_may_not() -> None:
    small, large = candidate(parameters=7e9, quant="Q3_K_M"), candidate(parameters=70e9, quant="IQ2_M")

    assert judge(small, Request()).refused
    assert not judge(large, Request()).refused


def test_a_tiny_model_is_as_coarse_as_its_layers_whatever_its_embeddings_weigh() -> None:
    assert judge(candidate(parameters=270e6, quant="UD-IQ2_M", bits=5.3), Request()).refused
    assert not judge(candidate(parameters=270e6, quant="UD-Q4_K_XL", bits=6.9), Request(lenient=True)).refused


def test_a_model_too_weak_for_a_use_is_refused_unless_it_was_asked_for() -> None:
    weak = candidate(parameters=350e6)

    reasons = judge(weak, Request(use=Use.CODE)).reasons

    assert f"Quality {weak.quality.score:.0f} of 100 is too little for code, which needs 55." in reasons
    assert not [
        one for one in judge(weak, Request(use=Use.CODE, lenient=True)).reasons if "too little" in one
    ]


def test_who_is_patient_gets_the_nearest_that_is_slow() -> None:
    slow = candidate(speed=2.0)

    assert judge(slow, Request()).refused
    assert not judge(slow, Request(patient=True)).refused


def test_the_reasons_say_what_made_the_score() -> None:
    assert (
        "Quality 67 of 100: 71 by size and date alone, for 8B parameters of 2025-04.",
        "Q4_K_M costs 4.4 points.",
        "20 tokens/s (modelled); 25 are enough for chat.",
    ) == judge(candidate(context=32768), Request()).reasons


def test_a_speed_that_may_miss_the_floor_is_to_be_measured() -> None:
    reasons = judge(candidate(speed=6.5, context=16384), Request()).reasons

    assert "It could be as slow as 5.42 tokens/s: measure it." in reasons
    assert "16384 tokens of context; 32768 are good for chat." in reasons

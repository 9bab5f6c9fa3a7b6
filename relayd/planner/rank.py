"""Ranking of candidates, and the reasons that rule one out.

Gates come first: a candidate that fails one is refused, whatever it would score. The others are ordered by

    score = quality weight * quality + speed weight * speed + context weight * context

each from 0 to 100: speed is 0 at the floor of the use and 100 where more is not noticed, by the logarithm;
context is the share of what the use asks for. Equal scores are ordered by quality, speed, then name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import log

from relayd.planner.divergence import KLD, Quantization, coarseness
from relayd.planner.processor import Tag
from relayd.planner.quality import ModelFacts, Quality, Use
from relayd.planner.speed import Estimate


@dataclass(frozen=True, slots=True)
class Profile:
    """What a use asks for.

    Attributes:
        floor: Tokens a second below which it is unusable: generated ones, for embedding those of a prompt.
        enough: Tokens a second above which more are not noticed.
        context: Tokens it likes to have.
        weights: Of quality, speed and context; they add up to 1.
    """

    floor: float
    enough: float
    context: int
    weights: tuple[float, float, float]


PROFILES: Mapping[Use, Profile] = {
    Use.CHAT: Profile(6, 30, 8192, (0.65, 0.25, 0.10)),
    Use.CODE: Profile(12, 60, 32768, (0.65, 0.20, 0.15)),
    Use.REASONING: Profile(12, 60, 16384, (0.70, 0.20, 0.10)),
    Use.VISION: Profile(6, 30, 8192, (0.65, 0.25, 0.10)),
    Use.EMBEDDING: Profile(100, 5000, 512, (0.55, 0.40, 0.05)),
}
"""Priors. People read about 6 tokens a second; code and thoughts are skimmed, so they must come faster."""

COARSEST = ((8e9, KLD["Q4_0"]), (30e9, KLD["IQ3_M"]), (float("inf"), KLD["IQ2_XXS"]))
"""Parameters below which a quantization may diverge no more than this one.

4-bit types below 8B, IQ3_M below 30B, no 1-bit types at all: beyond that a smaller model does better.
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model in one form on this machine.

    Attributes:
        name: What the reader knows it by: model and quantization, unique; orders ties, last of all.
        model: What is known of it.
        quantization: How its weights are stored.
        quality: How good it is.
        speed: Tokens a second of one sequence at the planned slots; for embedding, of a prompt.
        context: Tokens a slot holds.
        license: As the catalogue spells it.
        obstacle: Why this engine cannot load it; "" when it can.
        shortfall: Why it does not fit, with need and have; "" when it does.
        has_template: Whether its file has a chat template.
    """

    name: str
    model: ModelFacts
    quantization: Quantization
    quality: Quality
    speed: Estimate
    context: int
    license: str = ""
    obstacle: str = ""
    shortfall: str = ""
    has_template: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    """What is looked for.

    Attributes:
        use: What the model is wanted for.
        min_speed: Tokens a second of one sequence; None takes the use's floor.
        min_context: Tokens a slot must hold.
        licenses: Licences that are accepted; None accepts all.
    """

    use: Use = Use.CHAT
    min_speed: float | None = None
    min_context: int = 0
    licenses: frozenset[str] | None = None

    @property
    def floor(self) -> float:
        """Tokens a second below which a candidate is refused."""
        return PROFILES[self.use].floor if self.min_speed is None else self.min_speed


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate with its place.

    Attributes:
        candidate: What was looked at.
        score: From 0 to 100; 0 when refused.
        refused: Whether a gate is shut.
        reasons: Short sentences: the gates that are shut, else what made the score.
    """

    candidate: Candidate
    score: float
    refused: bool
    reasons: tuple[str, ...]


def rank(candidates: Iterable[Candidate], request: Request) -> tuple[Ranked, ...]:
    """Return all candidates, the best first and the refused last, whatever order they came in."""
    return tuple(sorted((judge(candidate, request) for candidate in candidates), key=_place))


def judge(candidate: Candidate, request: Request) -> Ranked:
    """Return what one candidate scores, or why it is refused."""
    if shut := tuple(_shut_gates(candidate, request)):
        return Ranked(candidate, 0.0, refused=True, reasons=shut)
    score = composite(candidate, request)
    return Ranked(candidate, score, refused=False, reasons=tuple(_reasons(candidate, request)))


def composite(candidate: Candidate, request: Request) -> float:
    """Return the score of a candidate for which all gates are open."""
    profile = PROFILES[request.use]
    parts = (
        candidate.quality.score,
        speed_score(candidate.speed.value, profile),
        100 * min(1.0, candidate.context / profile.context),
    )
    return sum(weight * part for weight, part in zip(profile.weights, parts, strict=True))


def speed_score(tokens_per_second: float, profile: Profile) -> float:
    """Return 0 at the floor of a use or below, 100 where more is not noticed."""
    if tokens_per_second <= profile.floor:
        return 0.0
    return 100 * min(1.0, log(tokens_per_second / profile.floor) / log(profile.enough / profile.floor))


def _shut_gates(candidate: Candidate, request: Request) -> Iterable[str]:
    """Yield a sentence for each gate that is shut."""
    use, model = request.use, candidate.model
    if candidate.obstacle:
        yield f"This engine cannot load it: {candidate.obstacle}."
    if not model.can(use):
        yield f"It is not made for {use}."
    if request.licenses is not None and candidate.license not in request.licenses:
        yield f"Its licence {candidate.license or 'is not known and'} is not among those accepted."
    if not candidate.has_template and use is not Use.EMBEDDING:
        yield "Its file has no chat template."
    if _too_coarse(candidate.quantization, model.parameters):
        yield (
            f"{candidate.quantization.name} is too coarse for {_billions(model.parameters)} parameters: "
            "a smaller model in 4 bits answers better."
        )
    if candidate.shortfall:
        yield f"It does not fit: {candidate.shortfall}."
    if candidate.context < request.min_context:
        yield f"A slot holds {candidate.context} tokens of context, {request.min_context} are asked for."
    if candidate.speed.value < request.floor:
        yield f"{_rate(candidate.speed)} is below {request.floor:g} tokens/s."


def _reasons(candidate: Candidate, request: Request) -> Iterable[str]:
    """Yield what made the score."""
    quality, model, profile = candidate.quality, candidate.model, PROFILES[request.use]
    active = f", {_billions(model.active_parameters)} active" if model.active_parameters else ""
    dated = f" of {model.released}" if model.released else ""
    yield (
        f"Quality {quality.score:.0f} of 100: {quality.model:.0f} for {_billions(model.parameters)} "
        f"parameters{active}{dated}."
    )
    if quality.weights_loss + quality.cache_loss >= 0.05:
        yield (
            f"{candidate.quantization.name} costs {quality.weights_loss:.1f} points"
            + (f", its cache {quality.cache_loss:.1f}." if quality.cache_loss >= 0.05 else ".")
        )
    yield f"{_rate(candidate.speed)}; {profile.enough:g} are enough for {request.use}."
    if candidate.speed.low < request.floor:
        yield f"It could be as slow as {candidate.speed.low:.3g} tokens/s: measure it."
    if candidate.context < profile.context:
        yield f"{candidate.context} tokens of context; {profile.context} are good for {request.use}."


def _too_coarse(quantization: Quantization, parameters: float) -> bool:
    divergence = coarseness(quantization)
    if quantization.trained or divergence is None:
        return False
    return divergence > next(limit for size, limit in COARSEST if parameters < size)


def _place(ranked: Ranked) -> tuple[bool, float, float, float, str]:
    candidate = ranked.candidate
    return (
        ranked.refused,
        -round(ranked.score, 6),
        -round(candidate.quality.score, 6),
        -candidate.speed.value,
        candidate.name,
    )


def _rate(speed: Estimate) -> str:
    tag = "" if speed.tag is Tag.MEASURED else f" ({speed.tag})"
    return f"{speed.value:.3g} tokens/s{tag}"


def _billions(count: float) -> str:
    return f"{count / 1e9:.3g}B" if count >= 1e9 else f"{count / 1e6:.3g}M"

"""Ranking of candidates, and the reasons that rule one out.

Gates come first: a candidate that fails one is refused, whatever it would score. The others are ordered by

    score = quality weight * quality + speed weight * speed + context weight * context

each from 0 to 100, speed and context by the logarithm: speed is 0 at the floor of the use and 100 where more
is not noticed, context is 0 at what the use must have and 100 at what it likes. Equal scores are ordered by
quality, speed, then name. Whole layers on the CPU beside a GPU cost points. What each use asks for is in
`planner/uses.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import log

from relayd.planner.divergence import KLD, Quantization, coarseness
from relayd.planner.processor import Tag
from relayd.planner.quality import ModelFacts, Quality, Use, evidence
from relayd.planner.speed import Estimate
from relayd.planner.uses import PROFILES, QUICK_WEIGHTS, Profile

PREFERRED_CACHES = ("f16", "q8_0")
"""Types of the cache that are chosen among: coarser ones only for who asks for them."""


PATIENCE = 100
"""How many times slower than the floor a model may be before it does not matter how slow."""

SPILLED = 3.0
"""Points that whole layers on the CPU beside a GPU cost at most.

Their speed is the least certain of all that is predicted (bands of 60 %), and a card that is full has no room
for a longer prompt or another program: a smaller file, whole on the card, is the surer pick. The same file is
never better off on the CPU alone, so the cost is no more than what the GPU gains it.
"""

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
        speed: Tokens a second of one sequence with all slots at work; for embedding, of a prompt.
        context: Tokens a slot holds.
        pace: What the use counts as speed, in tokens a second; None is `speed`.
        license: As the catalogue spells it.
        obstacle: Why this engine cannot load it; "" when it can.
        shortfall: Why it does not fit, with need and have; "" when it does.
        has_template: Whether its file has a chat template.
        spilled: Whether whole layers work on the CPU beside a GPU.
    """

    name: str
    model: ModelFacts
    quantization: Quantization
    quality: Quality
    speed: Estimate
    context: int
    pace: float | None = None
    license: str = ""
    obstacle: str = ""
    shortfall: str = ""
    has_template: bool = True
    spilled: float = 0.0

    @property
    def paced(self) -> float:
        """What counts as its speed."""
        return self.speed.value if self.pace is None else self.pace


@dataclass(frozen=True, slots=True)
class Request:
    """What is looked for.

    Attributes:
        use: What the model is wanted for.
        min_speed: Tokens a second of one sequence; None takes the use's floor.
        min_context: Tokens a slot must hold; the use may ask for more.
        licenses: Licences that are accepted; None accepts all.
        users: Requests at once.
        caches: Types that the cache may have.
        lenient: Whether a model that was trained on less context than the use must have is taken as it is.
        quick: Whether speed counts as much as quality.
        whole: Whether a model must be whole on GPUs where there are any.
        patient: Whether a model may be slower than the floor, where nothing else is found.
    """

    use: Use = Use.CHAT
    min_speed: float | None = None
    min_context: int = 0
    licenses: frozenset[str] | None = None
    users: int = 1
    caches: tuple[str, ...] = PREFERRED_CACHES
    lenient: bool = False
    quick: bool = False
    whole: bool = False
    patient: bool = False

    @property
    def profile(self) -> Profile:
        """What the use asks for, with what was asked for beside."""
        plain = PROFILES[self.use]
        least = max(plain.least_context, self.min_context)
        weights = QUICK_WEIGHTS if self.quick or self.patient else plain.weights
        floor = plain.floor / PATIENCE if self.patient else plain.floor
        context = max(plain.context, least)
        return replace(plain, floor=floor, least_context=least, context=context, weights=weights)

    @property
    def least_quality(self) -> float:
        """Score below which a model is refused; one that was asked for by its name never is."""
        return 0.0 if self.lenient else PROFILES[self.use].least_quality

    @property
    def floor(self) -> float:
        """Pace below which a candidate is refused."""
        if self.patient:
            return 0.0
        plain = PROFILES[self.use]
        return plain.floor if self.min_speed is None or plain.reply else self.min_speed


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
    found = score(candidate.quality.score, candidate.paced, candidate.context, request.profile)
    return found - candidate.spilled


def score(points: float, pace: float, context: int, profile: Profile) -> float:
    """Return the score of some quality, pace and context."""
    parts = (points, speed_score(pace, profile), context_score(context, profile))
    return sum(weight * part for weight, part in zip(profile.weights, parts, strict=True))


def context_score(context: int, profile: Profile) -> float:
    """Return 0 at what a use must have or below, 100 at what it likes."""
    if context >= profile.context:
        return 100.0
    if context <= profile.least_context:
        return 0.0
    return 100 * log(context / profile.least_context) / log(profile.context / profile.least_context)


def speed_score(tokens_per_second: float, profile: Profile) -> float:
    """Return 0 at the floor of a use or below, 100 where more is not noticed."""
    if tokens_per_second <= profile.floor:
        return 0.0
    return 100 * min(1.0, log(tokens_per_second / profile.floor) / log(profile.enough / profile.floor))


def gates(candidate: Candidate, request: Request) -> Iterable[str]:
    """Yield a sentence for each gate that is shut whatever the form and the machine."""
    use, model = request.use, candidate.model
    if candidate.obstacle:
        yield f"This engine cannot load it: {candidate.obstacle}."
    if not model.can(use):
        yield f"It is not made for {use}."
    if request.licenses is not None and candidate.license not in request.licenses:
        yield f"Its licence {candidate.license or 'is not known and'} is not among those accepted."
    if not candidate.has_template and use is not Use.EMBEDDING:
        yield "Its file has no chat template."


def _shut_gates(candidate: Candidate, request: Request) -> Iterable[str]:
    """Yield a sentence for each gate that is shut."""
    use, model = request.use, candidate.model
    yield from gates(candidate, request)
    if is_too_coarse(candidate.quantization, model.parameters):
        yield (
            f"{candidate.quantization.name} is too coarse for {_billions(model.parameters)} parameters: "
            "a smaller model in 4 bits answers better."
        )
    if candidate.quality.score < request.least_quality:
        yield (
            f"Quality {candidate.quality.score:.0f} of 100 is too little for {use}, which needs "
            f"{request.least_quality:g}."
        )
    if candidate.shortfall:
        yield f"It does not fit: {candidate.shortfall}."
    least = request.min_context if request.lenient else request.profile.least_context
    if candidate.context < least:
        whom = "asked for" if request.min_context == least else f"needed for {use}"
        yield f"A slot holds {candidate.context} tokens of context, {least} are {whom}."
    if request.profile.reply and candidate.paced < request.floor:
        limit = request.profile.seconds(request.floor)
        yield f"{turn(candidate.paced, request.profile)}; {limit:.0f} s are the limit."
    elif candidate.speed.value < (least_speed := _least_speed(request)):
        yield f"{_rate(candidate.speed)} is below {least_speed:g} tokens/s."


def _least_speed(request: Request) -> float:
    """Return the tokens a second that one sequence must reach."""
    return request.floor if request.min_speed is None or request.patient else request.min_speed


def _reasons(candidate: Candidate, request: Request) -> Iterable[str]:
    """Yield what made the score."""
    quality, model, profile = candidate.quality, candidate.model, request.profile
    active = f", {_billions(model.active_parameters)} active" if model.active_parameters else ""
    dated = f" of {model.released}" if model.released else ""
    tests = ", ".join(evidence(model, request.use))
    rests = f"by {tests}, " if tests else "by size and date alone, "
    yield (
        f"Quality {quality.score:.0f} of 100: {quality.model:.0f} {rests}for {_billions(model.parameters)} "
        f"parameters{active}{dated}."
    )
    if quality.weights_loss + quality.cache_loss >= 0.05:
        yield (
            f"{candidate.quantization.name} costs {quality.weights_loss:.1f} points"
            + (f", its cache {quality.cache_loss:.1f}." if quality.cache_loss >= 0.05 else ".")
        )
    if profile.reply:
        enough = profile.seconds(profile.enough)
        yield f"{turn(candidate.paced, profile)}; {enough:.0f} s are as good as less."
    else:
        yield f"{_rate(candidate.speed)}; {profile.enough:g} are enough for {request.use}."
        if candidate.speed.low < request.floor:
            yield f"It could be as slow as {candidate.speed.low:.3g} tokens/s: measure it."
    if candidate.spilled:
        yield f"Layers on the CPU beside a GPU cost {candidate.spilled:.1f} points: their speed is uncertain."
    if candidate.context < profile.context:
        yield f"{candidate.context} tokens of context; {profile.context} are good for {request.use}."


def turn(pace: float, profile: Profile) -> str:
    """Return how long a turn takes: `A turn of 16,384 tokens read and 800 written takes 45 s`."""
    seconds = profile.seconds(pace)
    return f"A turn of {profile.prompt:,} tokens read and {profile.reply} written takes {seconds:.0f} s"


def is_too_coarse(quantization: Quantization, parameters: float) -> bool:
    """Return whether a smaller model in finer weights does better than one so quantized."""
    divergence = coarseness(quantization)
    if quantization.trained or divergence is None:
        return False
    return divergence > next(limit for size, limit in COARSEST if parameters < size)


def _place(ranked: Ranked) -> tuple[bool, float, float, float, str]:
    candidate = ranked.candidate
    return (
        ranked.refused,
        -ranked.score,
        -candidate.quality.score,
        -candidate.speed.value,
        candidate.name,
    )


def _rate(speed: Estimate) -> str:
    tag = "" if speed.tag is Tag.MEASURED else f" ({speed.tag})"
    return f"{speed.value:.3g} tokens/s{tag}"


def _billions(count: float) -> str:
    return f"{count / 1e9:.3g}B" if count >= 1e9 else f"{count / 1e6:.3g}M"

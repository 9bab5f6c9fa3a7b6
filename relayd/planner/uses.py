"""What a use means: what is measured for it, what it must have, and what it would like.

| use | speed that counts | it must have | it likes |
|---|---|---|---|
| chat | decoding 8,192 tokens deep | 8,192 tokens of context | 32,768 |
| agent | seconds of a turn: 16,384 tokens read, 800 written, 49,152 deep | 65,536, calls of tools | 131,072 |
| code | decoding 16,384 tokens deep | 16,384 | 65,536 |
| reasoning | decoding 8,192 tokens deep | 16,384 | 32,768 |
| vision | decoding 4,096 tokens deep | 8,192, images, room for the projector | 16,384 |
| embedding | reading inputs of 512 tokens | 512 | 8,192 |
| long | decoding at the end of the context | 32,768 | as much as it can |

Quality has a floor too: 40 for chat is a 1B model of 2024; code, thoughts and calls of tools go wrong too
often below 55, 58 and 60, which today's 2B models reach and those below 1B do not.

The numbers are priors: people read about 6 tokens a second; code and thoughts are skimmed, so they must come
faster; of an agent people wait for the end of each turn.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from relayd.errors import UsageError
from relayd.planner.quality import Use


@dataclass(frozen=True, slots=True)
class Profile:
    """What a use asks for.

    Attributes:
        floor: Pace below which it is unusable, in tokens a second: generated ones, for embedding those of a
            prompt, for an agent those of the reply over the whole turn.
        enough: Pace above which more is not noticed.
        least_context: Tokens that a slot must hold.
        context: Tokens that it likes to hold.
        weights: Of quality, speed and context; they add up to 1.
        depth: Tokens in the cache while it generates; 0 is the whole context.
        prompt: Tokens that are read at once.
        reply: Tokens of the reply, where a turn is what counts; 0 where it is the rate.
        least_quality: Score below which a model is of no use for it, however fast it is.
    """

    floor: float
    enough: float
    least_context: int
    context: int
    weights: tuple[float, float, float]
    depth: int = 8192
    prompt: int = 1024
    reply: int = 0
    least_quality: float = 0.0

    def deep(self, context: int) -> int:
        """Return the tokens in the cache while a slot of so much context generates."""
        return min(self.depth or context, context)

    def seconds(self, pace: float) -> float:
        """Return how long a turn takes at a pace."""
        return self.reply / pace if pace else float("inf")


PROFILES: Mapping[Use, Profile] = {
    Use.CHAT: Profile(6, 25, 8192, 32768, (0.74, 0.20, 0.06), least_quality=40),
    Use.AGENT: Profile(
        800 / 300,
        800 / 45,
        65536,
        131072,
        (0.72, 0.22, 0.06),
        depth=49152,
        prompt=16384,
        reply=800,
        least_quality=60,
    ),
    Use.CODE: Profile(12, 45, 16384, 65536, (0.72, 0.20, 0.08), depth=16384, least_quality=55),
    Use.REASONING: Profile(12, 45, 16384, 32768, (0.76, 0.20, 0.04), least_quality=58),
    Use.VISION: Profile(6, 25, 8192, 16384, (0.72, 0.22, 0.06), depth=4096, least_quality=45),
    Use.EMBEDDING: Profile(100, 5000, 512, 8192, (0.60, 0.32, 0.08), depth=512, prompt=512),
    Use.LONG: Profile(8, 30, 32768, 1048576, (0.45, 0.10, 0.45), depth=0, least_quality=40),
}

QUICK_WEIGHTS = (0.46, 0.46, 0.08)
"""Of quality, speed and context, where something quick is looked for."""

SAID: Mapping[Use, tuple[str, ...]] = {
    Use.CHAT: ("chatting", "talk", "assistant", "general", "writing"),
    Use.AGENT: ("agents", "agentic", "tools", "tool-use", "tool-calling", "function-calling"),
    Use.CODE: ("coding", "coder", "programming", "development", "dev"),
    Use.REASONING: ("reason", "thinking", "think", "math", "maths", "science"),
    Use.VISION: ("images", "image", "pictures", "multimodal", "vlm", "ocr", "visual"),
    Use.EMBEDDING: ("embeddings", "embed", "vectors", "vector", "rag", "retrieval"),
    Use.LONG: ("long-context", "longcontext", "context", "documents", "books", "summarizing"),
}
"""Use → other words for it."""


def use_of(text: str) -> Use:
    """Return the use that a word means, whatever its case.

    Raises:
        UsageError: None is called so.
    """
    plain = text.strip().casefold().replace("_", "-").replace(" ", "-")
    for use in Use:
        if plain == use or plain in SAID[use]:
            return use
    raise UsageError(
        f"{text!r} is not a use that models are recommended for",
        remedy=f"Choose one of {', '.join(Use)}.",
    )

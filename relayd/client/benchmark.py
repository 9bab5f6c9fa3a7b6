"""How fast a running model is, for one request and for several at once (benchmark)."""

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

from relayd.client.chat import Conversation, Turn

UNCHANGED = 0.95
"""Share of the speed alone from which on a request is not slower among others: runs differ by as much."""

_WORDS = ("river", "stone", "lamp", "winter", "garden", "paper", "window", "cloud", "table", "music")


@dataclass(frozen=True, slots=True)
class Level:
    """Speeds of a number of requests at once.

    Attributes:
        requests: How many ran at the same time.
        tokens_per_second: Of all of them together, from the first token of any to the last token of all.
        each_per_second: The median of their own speeds, from first token to last.
        first_token_seconds: The median time to the first token, in which the prompt is read.
    """

    requests: int
    tokens_per_second: float
    each_per_second: float
    first_token_seconds: float


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Speeds of a model.

    Attributes:
        model: Its name.
        prompt_tokens: Length of the prompt that was read.
        prefill_per_second: Prompt tokens a second, alone: the median of the rounds.
        decode_per_second: Tokens a second, alone: the median of the rounds.
        levels: The sweep over requests at once.
    """

    model: str
    prompt_tokens: int
    prefill_per_second: float
    decode_per_second: float
    levels: tuple[Level, ...]


def run_benchmark(
    connect: Callable[[], Conversation],
    model: str,
    *,
    prompt_words: int,
    tokens: int,
    rounds: int,
    at_once: Sequence[int],
    on_step: Callable[[str], None],
) -> Benchmark:
    """Measure a model.

    Args:
        connect: Returns a client; called once for each request that runs beside others.
        model: Its name.
        prompt_words: Length of every prompt; each prompt is new, so that no cache answers.
        tokens: Length of every answer.
        rounds: Measurements of the model alone, after one that warms it up.
        at_once: The numbers of requests of the sweep.
        on_step: Called with what is about to be measured.

    Raises:
        RequestError: A request was refused, or its answer broke off.
    """
    texts = prompts(prompt_words)

    def ask(_: int = 0) -> Turn:
        message = [{"role": "user", "content": next(texts)}]
        return connect().ask(model, message, max_tokens=tokens, ignore_eos=True, cache_prompt=False)

    on_step("warming up")
    ask()
    alone = []
    for number in range(1, rounds + 1):
        on_step(f"alone, round {number} of {rounds}")
        alone.append(ask())
    levels = []
    for count in at_once:
        on_step(f"{count} at once")
        with ThreadPoolExecutor(count) as pool:
            levels.append(_level(list(pool.map(ask, range(count)))))
    return Benchmark(
        model=model,
        prompt_tokens=round(median(turn.prompt_tokens for turn in alone)),
        prefill_per_second=median(turn.prompt_per_second for turn in alone),
        decode_per_second=median(turn.per_second for turn in alone),
        levels=tuple(levels),
    )


def _level(turns: Sequence[Turn]) -> Level:
    """Return what turns that began together came to: of one alone, both speeds are the same."""
    began, ended = min(turn.first_token_seconds for turn in turns), max(turn.seconds for turn in turns)
    return Level(
        requests=len(turns),
        tokens_per_second=_rate(sum(turn.tokens for turn in turns), ended - began),
        each_per_second=median(_rate(turn.tokens, turn.seconds - turn.first_token_seconds) for turn in turns),
        first_token_seconds=median(turn.first_token_seconds for turn in turns),
    )


def _rate(tokens: int, seconds: float) -> float:
    return tokens / seconds if seconds > 0 else 0.0


def verdict(levels: Sequence[Level]) -> str:
    """Return in a sentence what several requests at once are good for; "" where only one was measured."""
    alone, most = levels[0], levels[-1]
    if most.requests == alone.requests or not alone.tokens_per_second or not alone.each_per_second:
        return ""
    best = max(levels, key=lambda level: level.tokens_per_second)
    work = best.tokens_per_second / alone.tokens_per_second
    if work < 1.1:
        return f"Up to {most.requests} requests at once do no more work than one: they only share it."
    each = best.each_per_second / alone.each_per_second
    pace = "as fast as alone" if each >= UNCHANGED else f"at {each:.0%} of its speed alone"
    return f"{best.requests} at once do {work:.1f} times the work of one, each {pace}."


def prompts(words: int) -> Iterator[str]:
    """Yield prompts of the same length, no two with the same beginning."""
    chooser = random.Random(0)  # noqa: S311 - the same prompts each time make runs comparable
    number = 0
    while True:
        number += 1
        yield f"{number} " + " ".join(chooser.choices(_WORDS, k=words))

"""Which slots, contexts and passes a model is tried with, from what is wanted to what would do.

Down to what is enough the context gets shorter; then the slots go down, and last the context again. Each
step makes one of them smaller and none larger, so that more memory never means fewer slots or less context.
"""

from collections.abc import Iterator

from relayd.planner.placement import Aim
from relayd.planner.quality import Use

MICRO_BATCH = 512
"""Tokens of one pass: the engine's own default (`--ubatch-size`)."""

BATCH = 2048
"""Tokens that are decoded between two looks at the clients: the engine's own default (`--batch-size`)."""

BATCH_ON_CPU = 512
"""The same where all of a model is on the CPU.

A batch there takes seconds, in which no request is cancelled and no neighbour gets a token: a quarter of it
makes both about 4 times shorter (measured).
"""

LONGEST_INPUT = 8192
"""Tokens of an input for a vector that a model takes, where its line leaves the context open.

OpenAI's models take 8,191; the pass of a longer one needs gigabytes for the logits of all its tokens.
"""

Shape = tuple[int, int, int]
"""Slots, tokens a slot holds, and tokens of one pass."""


def shapes(aim: Aim, trained: int) -> Iterator[Shape]:
    """Yield what a model is tried with, the best first.

    A model for chat that answers with vectors too needs its whole input in one pass; it takes shorter inputs
    before it is not run.

    Args:
        aim: What is asked of it.
        trained: Tokens that it was trained on; 0 is not known.
    """
    slots, context, micro, fixed = 0, 0, MICRO_BATCH, aim.fixed.micro_batch
    for slots, context in _sizes(aim, trained or aim.context):
        micro = fixed or max(MICRO_BATCH, longest_input(aim, context))
        yield slots, context, micro
    while micro > MICRO_BATCH and not fixed and aim.use is not Use.EMBEDDING:
        micro = max(micro // 2, MICRO_BATCH)
        yield slots, context, micro


def longest_input(aim: Aim, context: int) -> int:
    """Return the tokens that an input for a vector may have; 0 where no vector is asked for."""
    if aim.use is Use.EMBEDDING or (aim.embeddings and aim.least_context >= context):
        return context
    return min(context, LONGEST_INPUT) if aim.embeddings else 0


def _sizes(aim: Aim, trained: int) -> Iterator[tuple[int, int]]:
    """Yield slots and context."""
    context = max(aim.context if aim.beyond_trained else min(aim.context, trained), 1)
    least, slots = min(aim.least_context, context), aim.slots
    yield slots, context
    for shorter in _halved(context, max(least, aim.enough_context)):
        context = shorter
        yield slots, context
    for fewer in _halved(slots, aim.least_slots):
        slots = fewer
        yield slots, context
    for shorter in _halved(context, least):
        yield slots, shorter


def _halved(count: int, least: int) -> Iterator[int]:
    """Yield a number halved again and again, down to the least of it."""
    while count > least:
        count = max(count // 2, least)
        yield count

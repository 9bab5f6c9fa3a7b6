"""What is a request worth among flows, in tokens that are read (fair shares)?

A token that is written counts for several that are read, and a token that a cache held counts for nothing: a
flow that sends the same long prompt again takes little from the others. What is charged at the start is an
estimate, which the engine's own figures correct at the end.
"""

import msgspec

from relayd.scheduler.ask import Ask
from relayd.scheduler.capacity import Capacity
from relayd.scheduler.exchange import Usage
from relayd.scheduler.prefixes import covered
from relayd.scheduler.waiting import Waiting

OUTPUT_WEIGHT = 4.0
"""What a token that is written counts for: on llama-server's slow test model reading 1,257 tokens takes a
second, and so does writing 250."""

_GAIN = 0.1
"""How much of a mean each new value replaces."""


class _Price(msgspec.Struct):
    """What is known of the requests of one model.

    Attributes:
        bytes_a_token: Of a prompt in JSON.
        output_tokens: Of an answer.
    """

    bytes_a_token: float = 4.0
    output_tokens: float = 256.0


class Prices:
    """What requests of each model are worth (moving means)."""

    def __init__(self) -> None:
        self._models: dict[str, _Price] = {}

    def __repr__(self) -> str:
        return f"<Prices of {len(self._models)} models>"

    def of(self, waiting: Waiting, capacity: Capacity) -> float:
        """Return what a ticket is probably worth on a replica."""
        ask = waiting.ticket.ask
        known = self._models.get(ask.model) or _Price()
        unread = max(0, (covered(ask.prefix) or ask.body_bytes) - waiting.warm.get(capacity, 0))
        return unread / known.bytes_a_token + OUTPUT_WEIGHT * known.output_tokens

    def learn(self, ask: Ask, usage: Usage) -> float:
        """Return what a ticket was worth, and take note of it."""
        known = self._models.setdefault(ask.model, _Price())
        size = covered(ask.prefix) or ask.body_bytes
        if size and usage.prompt_tokens:
            known.bytes_a_token += _GAIN * (size / usage.prompt_tokens - known.bytes_a_token)
        known.output_tokens += _GAIN * (usage.completion_tokens - known.output_tokens)
        return usage.prompt_tokens - usage.cached_tokens + OUTPUT_WEIGHT * usage.completion_tokens

    def forget(self, model: str) -> None:
        """Forget a model."""
        self._models.pop(model, None)

"""How fast does each replica read and write, and how long are prompts and answers (learned, moving means)?"""

import msgspec

from relayd.scheduler.ask import Ask
from relayd.scheduler.capacity import Capacity
from relayd.scheduler.exchange import Usage
from relayd.scheduler.prefixes import covered

_BYTES_A_TOKEN = 4.0
"""Bytes of a prompt in JSON for each token, before any answer has shown it."""

_OUTPUT_TOKENS = 256.0
"""Tokens of an answer before any has shown it."""

_TELLING_TOKENS = 32
"""Tokens that were read or written from which a rate is learned: with fewer, overheads count most."""

_OTHER_SPEED = 1.5
"""A replica has a rate of its own where it is so many times faster or slower than the model's mean: less is
noise, and would send everything to whichever replica measured best."""

_GAIN = 0.1
"""How much of a mean each new value replaces."""


class ReplicaPace(msgspec.Struct):
    """How fast one replica is; 0 where that is not known.

    Attributes:
        prompt_rate: Tokens it reads in a second.
        token_seconds: How long it takes for each token that it writes, at the load that it had.
    """

    prompt_rate: float = 0.0
    token_seconds: float = 0.0

    def learn(self, rate: float, seconds: float, *, alone: bool) -> None:
        """Take note of what an answer showed (tokens read in a second, seconds for each written); 0: nothing.

        The engine's time for a prompt counts its wait behind other prompts, so that a rate which was seen
        beside others is only a lower bound.
        """
        known = self.prompt_rate
        if rate and (alone or rate > known):
            self.prompt_rate = _mean(known, rate)
        if seconds:
            self.token_seconds = _mean(self.token_seconds, seconds)


_UNKNOWN = ReplicaPace()


class Rates:
    """What is known of one model and of each of its replicas."""

    def __init__(self) -> None:
        self.bytes_a_token = _BYTES_A_TOKEN
        self.output_tokens = _OUTPUT_TOKENS
        self._model = ReplicaPace()
        self._replicas: dict[Capacity, ReplicaPace] = {}

    def __repr__(self) -> str:
        return (
            f"<Rates {self._model.prompt_rate:.0f} tokens/s, {self.output_tokens:.0f} tokens an answer, "
            f"{len(self._replicas)} replicas>"
        )

    def learn(self, ask: Ask, capacity: Capacity, usage: Usage, *, alone: bool) -> bool:
        """Take note of a complete answer, and return whether it was long enough to show a rate.

        Args:
            ask: What was asked for.
            capacity: Of whom.
            usage: What it took.
            alone: Its prompt was read beside no other.
        """
        size = covered(ask.prefix) or ask.body_bytes
        if size and usage.prompt_tokens >= _TELLING_TOKENS:
            self.bytes_a_token = _mean(self.bytes_a_token, size / usage.prompt_tokens)
        self.output_tokens = _mean(self.output_tokens, usage.completion_tokens)
        read, rate, seconds = usage.prompt_tokens - usage.cached_tokens, 0.0, 0.0
        if read >= _TELLING_TOKENS and usage.prompt_ms > 0:
            rate = 1000 * read / usage.prompt_ms
        if usage.completion_tokens >= _TELLING_TOKENS and usage.completion_ms > 0:
            seconds = usage.completion_ms / usage.completion_tokens / 1000
        if not rate and not seconds:
            return False
        self._model.learn(rate, seconds, alone=alone)
        own = self._replicas.get(capacity)
        if own is None:
            own = self._replicas[capacity] = ReplicaPace()
        own.learn(rate, seconds, alone=alone)
        return True

    def of(self, capacity: Capacity) -> tuple[float, float]:
        """Return how many tokens a replica reads in a second, and the seconds that it takes to write one.

        0 stands for what is not known of any replica.
        """
        known, model = self._replicas.get(capacity) or _UNKNOWN, self._model
        return _own(known.prompt_rate, model.prompt_rate), _own(known.token_seconds, model.token_seconds)

    def keep(self, capacities: set[Capacity]) -> None:
        """Forget the replicas that are not among these."""
        self._replicas = {one: pace for one, pace in self._replicas.items() if one in capacities}


def _own(own: float, mean: float) -> float:
    """Return a replica's own rate where it differs from the mean of all."""
    return own if own > mean * _OTHER_SPEED or 0 < own < mean / _OTHER_SPEED else mean


def _mean(known: float, value: float) -> float:
    return known + _GAIN * (value - known) if known else value

"""May a request give its slots back once more (preemption), or would it never come to its end?"""

from typing import Protocol

import msgspec

from relayd.router.prefill import PromptProgress

LEAST_TOKENS = 256
"""What a request that has given its slots back gets on by before it does so again."""

_MOST_READINGS = 4
"""How often a prompt is read anew for prompts of more urgent requests."""


class Generating(Protocol):
    """A plain answer that is being collected."""

    @property
    def events(self) -> int:
        """How many events of it have come, at least."""
        ...


class SlotReturns(msgspec.Struct, eq=False):
    """How often one request has given its slots back.

    Attributes:
        gathering: What collects its answer; None while nothing does.
    """

    gathering: Generating | None = None
    _given_at: int | None = None
    _readings: int = 0

    def rereads(self, progress: PromptProgress | None) -> bool:
        """Return whether its prompt is being read, and may be read on later; counts that."""
        if progress is None or progress.processed >= progress.total or self._readings >= _MOST_READINGS:
            return False
        self._readings += 1
        return True

    def yields(self) -> bool:
        """Return whether enough was generated since the last time; notes how much that was."""
        generated = 0 if self.gathering is None else self.gathering.events
        if self._given_at is not None and generated < self._given_at + LEAST_TOKENS:
            return False
        self._given_at = generated
        return True

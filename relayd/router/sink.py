"""Where do the bytes of an answer go, and who waits for them (sink, waiter)?"""

from collections.abc import Callable
from typing import Protocol


class Sink(Protocol):
    """Where the bytes of an answer go, framing included."""

    def take(self, raw: bytes) -> bool:
        """Take bytes; True asks for no more until `room` has returned."""
        ...

    async def room(self) -> None:
        """Return when there is room again."""
        ...


class Waiter(Protocol):
    """Who waits for an answer: the `Pause` of a coroutine, or a `Passage`."""

    def go_on(self) -> None:
        """Look at the connection: its answer has begun, is over or has failed, or its client is slow."""
        ...


Take = Callable[[bytes], bool]
"""Takes bytes of an answer, framing included; True asks for no more."""

"""Of which parts were the prompts of the last requests? Kept for `relayd why`, as hashes and lengths.

A request costs an entry in a queue; its parts are read a second later in a thread, of twenty a second at
most.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable

from relayd.daemon.rereading import KnownPrompt, explained
from relayd.daemon.whyreport import WhyReport
from relayd.errors import NotFoundError
from relayd.router.promptparts import PromptParts, parts_of
from relayd.scheduler import Exchange

LEAST_BYTES = 4096
"""Of a body whose prompt is kept: what a shorter one costs is not worth a question."""

_KEPT, _WAITING = 400, 20
_LOOK_SECONDS = 1.0


class RecentPrompts:
    """The parts of the prompts of the last requests.

    Args:
        recent: Returns the last exchanges, the oldest first.
    """

    def __init__(self, recent: Callable[[], Iterable[Exchange]]) -> None:
        self._recent = recent
        self._waiting: deque[tuple[str, bytes]] = deque(maxlen=_WAITING)
        self._parts: OrderedDict[str, PromptParts] = OrderedDict()
        self._reading: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<RecentPrompts kept={len(self._parts)} waiting={len(self._waiting)}>"

    def note(self, request_id: str, body: bytes) -> None:
        """Take note of what a replica gets for a request."""
        if len(body) < LEAST_BYTES:
            return
        self._waiting.append((request_id, body))
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())

    async def why(self, request_id: str) -> WhyReport:
        """Return why the engine read what it read of a request's prompt.

        Raises:
            NotFoundError: It is not among the last requests, or has not ended.
        """
        await self._take()
        known = [
            KnownPrompt(one, self._parts[one.request_id])
            for one in self._recent()
            if one.request_id in self._parts and one.usage is not None
        ]
        asked = next((one for one in reversed(known) if one.exchange.request_id == request_id), None)
        if asked is None:
            raise NotFoundError(
                f"nothing is kept of the prompt of a request {request_id[:128]!r}",
                remedy="Prompts of 4 KiB and more are kept of the last requests, once these have ended.",
            )
        placed = asked.exchange.placed_at or asked.exchange.arrived_at
        return explained(
            asked,
            [
                one
                for one in known
                if one.exchange.ask.model == asked.exchange.ask.model
                and one is not asked
                and one.exchange.ended_at <= placed
            ],
        )

    async def _read(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(_LOOK_SECONDS)
                await self._take()
        finally:
            self._reading = None

    async def _take(self) -> None:
        batch = list(self._waiting)
        self._waiting.clear()
        found = await asyncio.to_thread(_read_all, batch) if batch else {}
        self._parts.update(found)
        while len(self._parts) > _KEPT:
            self._parts.popitem(last=False)


def _read_all(batch: list[tuple[str, bytes]]) -> dict[str, PromptParts]:
    return {name: parts for name, body in batch if (parts := parts_of(body)) is not None}

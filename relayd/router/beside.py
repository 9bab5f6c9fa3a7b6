"""How does a request reach a replica beside the queue, for what the engine answers without a slot?

Counting tokens, tokenizing and rendering a template are done by the engine's HTTP threads while its slots
generate, so they wait for no slot. A replica gets few at a time: each takes a thread, and its memory is
planned for few more than its slots.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import count

from relayd.endpoint import Endpoint
from relayd.errors import UpstreamError
from relayd.profile import LOCAL
from relayd.router.eager import become_task
from relayd.router.headers import Call
from relayd.router.pool import Fetched, Pools
from relayd.router.remotecall import for_remote
from relayd.units import KIB

AT_ONCE = 2
"""Requests of one replica at a time, beside those of its slots: the memory wall has room for four threads."""

_LARGEST = 128 * KIB
"""A longer answer may have been cut (at 256 KiB, framing included), so it is asked for again in the queue."""

_TIMEOUT_SECONDS = 60.0
"""How long one may take: a prompt of several MB is tokenized in seconds."""


class Beside:
    """Sends small requests to replicas that serve, without a ticket.

    Args:
        pools: Connections to replicas.
        serving: Returns where a model is served now.
    """

    def __init__(self, pools: Pools, serving: Callable[[str], Sequence[Endpoint]]) -> None:
        self._pools = pools
        self._serving = serving
        self._places: dict[str, asyncio.Semaphore] = {}
        self._turns = count()

    def __repr__(self) -> str:
        return f"<Beside replicas={len(self._places)}>"

    async def ask(self, model: str, call: Call) -> tuple[Endpoint, Fetched] | None:
        """Return who answered, and what: up to 128 KiB.

        None means that no replica serves the model now, that the one that was asked failed, or that its
        answer is longer. The request
        should then wait in the queue, where failures are counted and models are loaded.
        """
        if not (endpoints := self._serving(model)):
            return None
        await become_task()
        return await self._ask(endpoints[next(self._turns) % len(endpoints)], call)

    async def ask_all(self, model: str, call: Call) -> list[tuple[Endpoint, Fetched]]:
        """Return what every replica of a model answers; those that do not are left out.

        So are those that are about to leave a request: each read delays that (b11434).
        """
        await become_task()
        asked = [one for one in self._serving(model) if not self._pools.owes(one.replica)]
        found = [await self._ask(endpoint, call) for endpoint in asked]
        return [one for one in found if one is not None]

    async def _ask(self, endpoint: Endpoint, call: Call) -> tuple[Endpoint, Fetched] | None:
        async with self._places.setdefault(endpoint.replica, asyncio.Semaphore(AT_ONCE)):
            try:
                if endpoint.profile is not LOCAL:
                    call = await for_remote(call, endpoint)
                fetched = await self._pools.fetch(endpoint, call, timeout_seconds=_TIMEOUT_SECONDS)
            except (OSError, UpstreamError):
                return None
        return (endpoint, fetched) if len(fetched.body) <= _LARGEST else None

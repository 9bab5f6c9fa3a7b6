"""Is an upstream there, which models does it have, and how many requests does it take (watch)?

Its list of models is asked for every `probe_seconds`: a light probe, whose answer is what is offered. A
request that fails there has it asked at once. One that does not answer is lost, and given up once it has not
answered three times; it is asked on, with a growing delay, and offered again when it does. A server that
refuses a request for want of room (429) takes none for as long as it states.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

import msgspec

from relayd.endpoint import Endpoint
from relayd.errors import UpstreamError
from relayd.journal import Journal
from relayd.profile import EndpointProfile
from relayd.remote.capacity import RemoteOffer, Remotes
from relayd.remote.figures import free_slots, read_load
from relayd.remote.listed import ChosenModel, chosen, read_list
from relayd.remote.source import UpstreamSource
from relayd.router import Call
from relayd.router.pool import Fetched

_JOURNAL = Journal("remote")

DEFAULT_SLOTS = 8
"""Requests at once of a server that does not state how many it takes: each of them batches as many."""

_TIMEOUT_SECONDS = 10.0
_MOST_DELAY_SECONDS = 60.0
_GIVEN_UP_AFTER = 3
_NO_LIST = frozenset({404, 405, 501})
_NO_KEY = frozenset({401, 403})

_CONTINUES = frozenset({"llamacpp", "relayd", "sglang", "vllm"})
"""Owners of models whose servers take `continue_final_message`."""

_LLAMA_SERVER = "llamacpp"


class FetchAnswer(Protocol):
    """Gets a small answer: `Pools.fetch`."""

    def __call__(self, endpoint: Endpoint, call: Call, *, timeout_seconds: float) -> Awaitable[Fetched]:
        """Return the whole answer; raises OSError or UpstreamError."""
        ...


class UpstreamWatch:
    """Keeps what one upstream offers true.

    Args:
        source: The upstream.
        remotes: Takes the offers.
        fetch: Asks it.
        running: Returns how many requests relayd has at a replica.

    Attributes:
        source: The upstream.
        problem: Why it cannot be used now; empty where it can.
        looked: Set once it has answered, or not, for the first time.
    """

    def __init__(
        self,
        source: UpstreamSource,
        remotes: Remotes,
        fetch: FetchAnswer,
        running: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self.source = source
        self.problem = ""
        self.looked = asyncio.Event()
        self._remotes = remotes
        self._fetch = fetch
        self._running = running
        self._wake = asyncio.Event()
        self._failures = 0
        self._has_figures = source.metrics_seconds > 0
        self._slots: dict[str, int] = {}
        self._refused: dict[str, tuple[float, asyncio.TimerHandle]] = {}

    def __repr__(self) -> str:
        return f"<UpstreamWatch {self.source.name}: {len(self._slots)} models, failures={self._failures}>"

    async def run(self) -> None:
        """Ask it, again and again; never returns."""
        source = self.source
        self._remotes.listen(source.name, self)
        for one in chosen(source.named, None):
            self._remotes.expect(self._offer(one))
        figures = asyncio.create_task(self._read_figures())
        try:
            while True:
                is_there = await self.look()
                self.looked.set()
                delay = source.probe_seconds if is_there else self._delay()
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            figures.cancel()
            for _, timer in self._refused.values():
                timer.cancel()

    async def look(self) -> bool:
        """Ask for its models, and offer what it has; return whether it can be used."""
        try:
            found = await self._get("/v1/models")
        except (OSError, UpstreamError) as error:
            return self._unreachable(str(error) or type(error).__name__)
        if found.status in _NO_KEY:
            return self._refuse(f"it refuses the key that relayd has for it ({found.status})")
        if 300 <= found.status < 400:
            return self._refuse(f"it answers {found.status}, and relayd follows no redirect")
        if found.status >= 400 and found.status not in _NO_LIST:
            return self._unreachable(f"it answers {found.status} when it is asked for its models")
        listed = None if found.status in _NO_LIST else read_list(found.body)
        if listed is None and not self.source.named:
            return self._refuse("it has no list of models; name them in `models` of its [[upstream]]")
        await self._offer_all(chosen(self.source.models, listed))
        return True

    def failed(self, replica: str, reason: str) -> None:
        """Ask at once how it is: a request failed there."""
        _JOURNAL.debug("remote.fault", replica=replica, reason=reason)
        self._wake.set()

    def refused(self, replica: str, seconds: float | None) -> None:
        """Send nothing there until it has room again."""
        before, timer = self._refused.get(replica, (0.5, None))
        if timer is not None:
            timer.cancel()
        pause = min(_MOST_DELAY_SECONDS, seconds if seconds is not None else 2 * before)
        resumed = asyncio.get_running_loop().call_later(pause, self._resume, replica)
        self._refused[replica] = (pause, resumed)
        self._remotes.pause(replica, f"it has no room; it is asked again in {pause:g} s")

    def _resume(self, replica: str) -> None:
        self._refused.pop(replica, None)
        if (known := self._remotes.get(replica)) is not None:
            self._remotes.resize(replica, known.offer.slots)

    async def _offer_all(self, models: tuple[ChosenModel, ...]) -> None:
        """RemoteOffer what it has, and withdraw what it has no more."""
        self._failures, self.problem = 0, "" if models else "it has none of the models that are wanted"
        offers = [await self._described(one) for one in models]
        names = {one.replica for one in offers}
        for known in self._remotes:
            if known.offer.origin == self.source.name and known.offer.replica not in names:
                self._remotes.withdraw(known.offer.replica, "its server does not have the model")
        self._slots = {one.replica: one.slots for one in offers}
        for offer in offers:
            if offer.replica not in self._refused:
                self._remotes.offer(self._as_figures_allow(offer))

    def _as_figures_allow(self, offer: RemoteOffer) -> RemoteOffer:
        """Return an offer with the slots that its figures left the last time."""
        known = self._remotes.get(offer.replica)
        if known is None or not self._has_figures or not known.offer.leads_where(offer):
            return offer
        return replace(offer, slots=min(offer.slots, known.offer.slots))

    def _offer(self, model: ChosenModel, slots: int = 0, context: int = 0) -> RemoteOffer:
        source, listed = self.source, model.listed
        is_plain_llama = listed.owner == _LLAMA_SERVER and source.url.startswith("http:")
        profile = EndpointProfile(
            model=listed.name,
            base=source.base,
            half_closes=is_plain_llama,
            continues=listed.owner in _CONTINUES,
            silence_seconds=source.timeout_seconds,
        )
        return RemoteOffer(
            replica=f"{model.ours}@{source.name}",
            model=model.ours,
            slots=source.slots or listed.slots or slots or DEFAULT_SLOTS,
            address=source.address,
            profile=profile,
            key=source.key,
            cost=source.cost,
            weight=source.weight,
            origin=source.name,
            context=context or listed.context,
            abilities=listed.abilities,
            strategy=source.strategy,
        )

    async def _described(self, model: ChosenModel) -> RemoteOffer:
        """Return an offer with what a llama-server states about itself: its slots and their context."""
        if model.listed.owner != _LLAMA_SERVER:
            return self._offer(model)
        with suppress(OSError, UpstreamError, msgspec.DecodeError, msgspec.ValidationError):
            found = await self._get("/props")
            if found.status == 200:
                props = msgspec.json.decode(found.body, type=_Props)
                context = props.default_generation_settings.get("n_ctx")
                return self._offer(model, props.total_slots, context if isinstance(context, int) else 0)
        return self._offer(model)

    async def _read_figures(self) -> None:
        """Take slots away that others have filled, as long as its figures can be read."""
        while self._has_figures:
            await asyncio.sleep(self.source.metrics_seconds)
            if not self._slots or self._failures:
                continue
            try:
                found = await self._get("/metrics")
            except (OSError, UpstreamError):
                continue
            load = read_load(found.body) if found.status == 200 else None
            if load is None:
                self._has_figures = False
                return
            ours = sum(map(self._running, self._slots))
            for replica, slots in self._slots.items():
                if replica not in self._refused:
                    self._remotes.resize(replica, free_slots(slots, load, ours))

    def _unreachable(self, reason: str) -> bool:
        self._failures += 1
        self.problem = reason
        for known in self._remotes:
            if known.offer.origin != self.source.name:
                continue
            if self._failures < _GIVEN_UP_AFTER:
                self._remotes.lose(known.offer.replica, reason)
            else:
                self._remotes.give_up(known.offer.replica, f"{self.source.name} cannot be reached: {reason}")
        return False

    def _refuse(self, reason: str) -> bool:
        """Give it up until an operator has mended it; it is asked on."""
        if reason != self.problem:
            _JOURNAL.warning("remote.unusable", upstream=self.source.name, reason=reason)
        self._failures, self.problem = max(self._failures, _GIVEN_UP_AFTER), reason
        for known in self._remotes:
            if known.offer.origin == self.source.name:
                self._remotes.give_up(known.offer.replica, f"{self.source.name}: {reason}")
        return False

    def _delay(self) -> float:
        """Return in how many seconds one that does not answer is asked again."""
        return min(_MOST_DELAY_SECONDS, 2.0 ** min(self._failures - 1, 10))

    async def _get(self, path: str) -> Fetched:
        source = self.source
        profile = EndpointProfile(base=source.base, half_closes=False)
        endpoint = Endpoint(source.address, source.key, f"@{source.name}", 1, profile)
        timeout = min(_TIMEOUT_SECONDS, source.timeout_seconds)
        return await self._fetch(endpoint, Call.get(path), timeout_seconds=timeout)


class _Props(msgspec.Struct):
    """What `/props` of a llama-server states."""

    total_slots: int = 0
    default_generation_settings: dict[str, object] = {}

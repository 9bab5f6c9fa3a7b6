"""How is a model brought on another machine for requests that wait for it: woken, loaded, or given up?"""

import asyncio
from collections.abc import Callable, Iterator, Mapping

from relayd.clock import Clock
from relayd.config.schema import PowerSettings
from relayd.daemon.power import wake
from relayd.errors import DaemonError, RelaydError
from relayd.journal import Journal
from relayd.remote.capacity import OfferState, RemoteCapacity, Remotes
from relayd.remote.choice import LoadChoice, best_load
from relayd.remote.hub import NodeHub
from relayd.scheduler import LoadElsewhere

RETRY_SECONDS = 30.0
"""After how long a load is tried again on a node where one has failed."""

_LOOK_SECONDS = 0.1
_SETTLE_SECONDS = 15.0
"""How long a node that was woken may take to state what it serves."""


class NodeLoads:
    """Brings models on nodes.

    Args:
        remotes: Capacity elsewhere.
        hub: The nodes.
        power: How nodes are woken.
        clock: Time.
        speeds: Returns node and model → tokens a second that were measured there.
        retry_seconds: After how long a node is tried again.
    """

    def __init__(
        self,
        remotes: Remotes,
        hub: NodeHub,
        power: PowerSettings,
        clock: Clock,
        speeds: Callable[[], Mapping[tuple[str, str], float]],
        *,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._remotes, self._hub, self._clock = remotes, hub, clock
        self.configure(power)
        self._speeds, self._retry_seconds = speeds, retry_seconds
        self._running: dict[str, asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def __repr__(self) -> str:
        return f"<NodeLoads running={len(self._running)}>"

    def configure(self, power: PowerSettings) -> None:
        """Wake nodes in this way from now on."""
        self._power = power
        named = {one.partition("=")[0] for one in power.wake}
        self._hub.can_wake = lambda node: node in named or bool(power.wake_command)

    def bring(self, wanted: LoadElsewhere) -> None:
        """Have a model loaded on the node that suits it best, unless one is about to; returns at once."""
        if wanted.model in self._running:
            return
        chosen = best_load(self._choices(wanted.model))
        if chosen is None:
            return
        task = asyncio.get_running_loop().create_task(self._bring(chosen))
        self._running[wanted.model] = task
        task.add_done_callback(lambda _: self._running.pop(wanted.model, None))
        self._remotes.bring(chosen.replica, "a request has it loaded")

    def close(self) -> None:
        """Bring nothing more."""
        for task in self._running.values():
            task.cancel()
        for timer in self._timers.values():
            timer.cancel()

    def _choices(self, model: str) -> Iterator[LoadChoice]:
        sessions, speeds = {one.name: one for one in self._hub}, self._speeds()
        for one in self._remotes:
            node = one.offer.origin
            if one.offer.model != model or one.state is not OfferState.COLD or node not in sessions:
                continue
            session = sessions[node]
            name = one.offer.replica.rpartition("@")[0]
            served = next((each for each in session.inventory.replicas if each.replica == name), None)
            if served is not None:
                yield LoadChoice(
                    one.offer.replica,
                    node,
                    served,
                    session.inventory,
                    session.channel is not None,
                    speeds.get((node, model), 0.0),
                    one.offer.cost,
                )

    async def _bring(self, chosen: LoadChoice) -> None:
        try:
            if not chosen.is_awake:
                await self._wake(chosen)
            if not self._is(chosen, OfferState.READY):
                reply = await self._hub.command(chosen.node, "load", chosen.served.model)
                if reply.code:
                    raise DaemonError(reply.message)
        except RelaydError as error:
            self._failed(chosen, error.message)

    async def _wake(self, chosen: LoadChoice) -> None:
        """Wake a node, and return once it has stated how the replica stands.

        Raises:
            DaemonError: It did not connect in time.
            UsageError: It is not configured how it is woken.
        """
        node = chosen.node
        await wake(node, self._power, lambda: self._is_connected(node), self._clock)
        deadline = self._clock.monotonic() + _SETTLE_SECONDS
        while self._find(chosen) is None or self._is(chosen, OfferState.LOST):
            if self._clock.monotonic() >= deadline:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def _failed(self, chosen: LoadChoice, reason: str) -> None:
        """Refuse what waits for it, or have another node tried; later this one is tried again."""
        Journal("daemon").warning("node.load_failed", replica=chosen.replica, reason=reason)
        self._running.pop(chosen.served.model, None)
        loop = asyncio.get_running_loop()
        self._timers[chosen.replica] = loop.call_later(self._retry_seconds, self._restate, chosen)
        self._remotes.give_up(chosen.replica, f"{chosen.node}: {reason}")

    def _restate(self, chosen: LoadChoice) -> None:
        self._timers.pop(chosen.replica, None)
        for session in self._hub:
            if session.name == chosen.node and session.channel is not None:
                session.offers.restate(chosen.replica)
            elif session.name == chosen.node:
                session.offers.lose(session.reason, wakes=self._hub.can_wake(chosen.node))

    def _find(self, chosen: LoadChoice) -> RemoteCapacity | None:
        return self._remotes.get(chosen.replica)

    def _is(self, chosen: LoadChoice, state: OfferState) -> bool:
        known = self._find(chosen)
        return known is not None and known.state is state

    def _is_connected(self, node: str) -> bool:
        return any(one.name == node and one.channel is not None for one in self._hub)

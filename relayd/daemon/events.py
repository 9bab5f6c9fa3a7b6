"""How what the supervisor reports of a replica becomes a scheduler event (bridge between the two).

The rooms do not know each other: here a report becomes an event, and retires the connections to a process
that has ended. Listeners that show the fleet are notified of each change.
"""

from collections.abc import Callable, Sequence

from relayd.endpoint import Endpoint
from relayd.journal import Journal
from relayd.planner import Planned
from relayd.scheduler import (
    Draining,
    Event,
    Expected,
    Forgotten,
    Gone,
    LoadFailed,
    Lost,
    Paused,
    Ready,
    Unloaded,
)
from relayd.units import KIB, mib

_JOURNAL = Journal("daemon")

NO_ROOM = "it does not fit into memory beside those that run"
"""Why a model is not loaded, for clients: sizes and names of others are for the operator."""


_KEPT_TOKEN_BYTES = 32 * KIB
"""Bytes of the prompt cache in host memory for each token, for the index of prompts, where the plan does not
state them: a model of 1 to 2 billion parameters has as many. What it really holds, its answers show."""


class Bridge:
    """Takes the supervisor's reports, in order, and posts the scheduler's events.

    Args:
        post: Posts an event to the scheduler.
        retire: Closes the router's connections to an incarnation that has ended.
        interrupt: Ends the answers of an incarnation that is about to be ended.
        stalled: Moves what a replica works on that does not answer its probes.
        token_bytes: Returns what the caches of a model file hold for each token; 0 where that is not known.
    """

    def __init__(
        self,
        post: Callable[[Event], None],
        retire: Callable[[Endpoint], None],
        interrupt: Callable[[Endpoint], None] = lambda _: None,
        stalled: Callable[[str], None] = lambda _: None,
        token_bytes: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self._post = post
        self._retire = retire
        self._interrupt = interrupt
        self._stalled = stalled
        self._token_bytes = token_bytes
        self._listeners: list[Callable[[], None]] = []
        self._on_ready: Sequence[Callable[[str], None]] = ()

    def __repr__(self) -> str:
        return f"<Bridge: {len(self._listeners)} listeners>"

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever a replica has changed, before the scheduler knows."""
        self._listeners.append(listener)

    def on_ready(self, *looks: Callable[[str], None]) -> None:
        """Call each of these with every replica that has come up, once the scheduler knows."""
        self._on_ready = looks

    def waiting(self, replica: str, model: str) -> None:
        """A replica has asked for its memory."""
        self._report(Expected(replica, model))

    def expected(self, replica: str, model: str) -> None:
        """A replica is on its way."""
        self._report(Expected(replica, model))

    def ready(self, planned: Planned, endpoint: Endpoint) -> None:
        """A replica takes requests."""
        spec = planned.spec
        kept_tokens = mib(spec.cache_ram_mib) / (self._token_bytes(str(spec.file)) or _KEPT_TOKEN_BYTES)
        self._report(Ready(planned.name, planned.model, spec.slots, endpoint, kept_tokens))
        for look in self._on_ready:
            look(planned.name)

    def paused(self, replica: str) -> None:
        """A replica is unwell and takes no new request until it is ready again."""
        self._report(Paused(replica))
        self._stalled(replica)

    def draining(self, replica: str) -> None:
        """A replica takes no new request."""
        self._report(Draining(replica))

    def stopping(self, endpoint: Endpoint) -> None:
        """An incarnation is about to be ended by command."""
        self._interrupt(endpoint)

    def lost(self, endpoint: Endpoint) -> None:
        """An incarnation has ended."""
        self._retire(endpoint)
        self._report(Lost(endpoint.replica))

    def unloaded(self, replica: str, model: str, reason: str) -> None:
        """A replica is wanted but not in memory."""
        _JOURNAL.info("replica.not_loaded", replica=replica, reason=reason)
        self._report(Unloaded(replica, model, NO_ROOM))

    def load_failed(self, replica: str, reason: str) -> None:
        """A load on demand has failed."""
        self._report(LoadFailed(replica, reason))

    def gone(self, replica: str, reason: str) -> None:
        """A replica will not come back by itself."""
        self._report(Gone(replica, reason))

    def forgotten(self, replica: str) -> None:
        """A replica is no longer part of the plan."""
        self._report(Forgotten(replica))

    def _report(self, event: Event) -> None:
        for listener in self._listeners:
            listener()
        self._post(event)

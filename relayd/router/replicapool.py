"""What do all connections to one incarnation of a replica share?"""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakSet

from msgspec.structs import replace

from relayd.endpoint import Endpoint, LocalAddress
from relayd.profile import LOCAL
from relayd.router.headers import Call

if TYPE_CHECKING:
    from relayd.router.upstream import Upstream


@dataclass(slots=True, eq=False)
class ReplicaPool:
    """The connections to one incarnation of a replica.

    Attributes:
        endpoint: Whose they are.
        idle: Those that wait for a request; the one that was used last stands at the end.
        every: All of them, as long as they are open.
        batch_seconds: How long the engine takes for a batch of a prompt; 0 until that is known.
    """

    endpoint: Endpoint
    idle: "deque[Upstream]" = field(default_factory=deque)
    every: "WeakSet[Upstream]" = field(default_factory=WeakSet)
    batch_seconds: float = 0.0
    _openings: dict[tuple[str, str, bool], bytes] = field(default_factory=dict)

    is_elsewhere: ClassVar[bool] = False
    """Whether it is a server that relayd did not start."""

    ends_when_done: ClassVar[bool] = False
    """Whether the end of a request that was left comes only when the replica is done with its batch."""

    def note_batch(self, seconds: float) -> None:
        """Take note of how long a batch took; a longer one counts at once, a shorter one by and by."""
        self.batch_seconds = max(seconds, (3 * self.batch_seconds + seconds) / 4)

    def opening(self, call: Call) -> bytes:
        """Return the head of a request up to the length of its body, made once for each kind of request."""
        kind = call.path, call.content_type, call.with_key
        known = self._openings.get(kind)
        if known is None:
            known = self._openings[kind] = call.opening(self.endpoint)
        return known


class RemotePool(ReplicaPool):
    """The connections to a server elsewhere, where heads carry what is of one request only."""

    is_elsewhere = True

    def opening(self, call: Call) -> bytes:
        """Return the head of a request up to the length of its body."""
        return call.opening(self.endpoint)


class LinkPool(ReplicaPool):
    """The connections to a replica of another machine, whose log has the id of each request."""

    ends_when_done = True

    def opening(self, call: Call) -> bytes:
        """Return the head of a request up to the length of its body, with what its client named it by."""
        fields = call.sent.fields if call.sent is not None else ()
        return replace(call, fields=fields).opening(self.endpoint)


def pool_of(endpoint: Endpoint) -> ReplicaPool:
    """Return what the connections to an endpoint are kept in."""
    if endpoint.profile is not LOCAL:
        return RemotePool(endpoint)
    return (ReplicaPool if isinstance(endpoint.address, LocalAddress) else LinkPool)(endpoint)

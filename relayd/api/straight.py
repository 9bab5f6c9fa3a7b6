"""Which requests go straight to a replica, without a coroutine (straight route)?

A request whose body is here and short, that nothing has to wait for and nothing rewrites: no limits of its
key, no limits of time or tokens, no other models to fall back on. Every other one takes the long way, through
`Inference`; so does one that is refused, where the error is written.
"""

from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from relayd.api.admission import RequestContext
from relayd.api.delivery import end_begun
from relayd.api.forwarding import Forwarding
from relayd.api.inferenceparts import InferenceParts
from relayd.api.manner import make_ask
from relayd.errors import RequestError
from relayd.router import (
    NO_FINGERPRINT,
    Call,
    Dialect,
    Passage,
    Pools,
    StraightRecipient,
    changed,
    fingerprint_of,
    judge,
    open_body,
    with_additions,
)
from relayd.router.passage import FieldPairs
from relayd.units import KIB

_MOST_BYTES = 64 * KIB
"""Bodies up to here are read at once: longer ones are counted, and measured against the model's context."""


class StraightClient(StraightRecipient, Protocol):
    """A client on a connection of relayd's own, and its request."""

    @property
    def peer(self) -> str:
        """Its address."""
        ...


@dataclass(frozen=True, slots=True)
class StraightRoute:
    """The straight way of one path.

    Attributes:
        parts: What every route to a replica needs.
        forwarding: The path.
        dialect: How errors are written.
        pools: Connections to replicas.
        most_bytes: Longer bodies go the long way.
    """

    parts: InferenceParts
    forwarding: Forwarding
    dialect: Dialect
    pools: Pools = field(init=False)
    most_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pools", self.parts.proxy.attempts.pools)
        object.__setattr__(self, "most_bytes", min(_MOST_BYTES, self.parts.max_body))

    def prepare(
        self, client: StraightClient, context: RequestContext, named: tuple[str, FieldPairs], body: bytes
    ) -> Passage | None:
        """Return the passage of a request, to be started; None where it has to take the long way.

        Args:
            client: Whose it is.
            context: What is known of requests with this head.
            named: The id of the request, and what its answer carries besides.
            body: As it came.
        """
        parts, forwarding, size = self.parts, self.forwarding, len(body)
        bodies, grant = parts.bodies, context.grant
        if size > self.most_bytes or bodies.used + size > bodies.half:
            return None
        try:
            opened = open_body(body)
            members, rules = opened.members, forwarding.rules
            if not rules.constrained.isdisjoint(members) and ("tools" in members or opened.takes_long(rules)):
                return None  # whose schemas, and conversation, are looked at
            seen = judge(opened, rules, parts.unlisted)
        except RequestError:
            return None
        model = grant.models.plain(seen.model, parts.fleet.models())
        if model is None or not forwarding.leaves(members):
            return None
        if parts.fitting.concerns(forwarding.path, members, model):
            return None
        call = with_additions(Call(forwarding.path, seen.body, seen.stream), members, seen.width)
        progress = parts.progress
        if progress is not None and (progress.always or context.progress) and call.answers_events:
            return None
        request_id, others = named
        if seen.dropped:
            members = opened.left(seen.dropped).members
            others = (*others, ("X-Relayd-Changed", changed(seen.dropped)))
        retains = grant.rights.retain
        is_known = model.is_affine and retains
        if retains:
            parts.note_prompt(request_id, call.body)
        found = fingerprint_of(members, seen.messages) if is_known else NO_FINGERPRINT
        record = parts.exchanges.begin(request_id, forwarding.path, grant.id)
        slot = (model.replicas_of, seen.width, parts.dispatcher.deadline_from(record.arrived_at))
        peer = grant.id or client.peer  # which counts only where there is no key
        lease = parts.dispatcher.open(make_ask(slot, call, context, peer, found), record)
        lease.may_continue = parts.continues and context.continues
        bodies.used += size
        return Passage(self, client, call, lease, self.dialect, others, size)

    def over(self, passage: Passage) -> None:
        """Take note that one is over, answered as a whole."""
        self.parts.bodies.used -= passage.body_bytes
        passage.client.finish()

    def resume(self, passage: Passage) -> Coroutine[Any, Any, None]:
        """Return the coroutine that goes on with one, to its end."""
        return passage.client.carry_out(self._go_on(passage), passage.dialect, passage.headers)

    async def _go_on(self, passage: Passage) -> None:
        client, lease = passage.client, passage.lease
        try:
            with lease.record as record:
                try:
                    with lease:
                        await self.parts.proxy.go_on(passage)
                except RequestError as error:
                    if not client.sent_bytes:
                        raise
                    end_begun(client, passage.dialect, error, record)
        finally:
            self.parts.bodies.used -= passage.body_bytes

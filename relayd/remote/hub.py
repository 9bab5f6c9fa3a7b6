"""Which nodes are connected to this hub, and how does what they serve become capacity here (hub)?

A node dials in and states what it serves; each of its replicas is an offer in `Remotes`. A connection that
breaks pauses them: running requests wait for the link to go on, for `resume_seconds`, or for a short while
where the node itself closed it, as a process that has ended does. Then the requests are tried or continued
elsewhere. The node alone knows which of its slots are free: it reports those that others use, and refuses a
claim that it cannot hold.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from typing import Protocol

from relayd.clock import Clock
from relayd.errors import LinkError, NotFoundError
from relayd.journal import Journal
from relayd.remote.blocks import Blocks
from relayd.remote.capacity import Remotes
from relayd.remote.channel import LinkChannel, Socket, close
from relayd.remote.frames import DocumentFrame, FrameKind
from relayd.remote.greeting import refuse, take_hello, welcome
from relayd.remote.link import Link, LinkEvent, StreamData, StreamEnded, StreamReset
from relayd.remote.messages import (
    HEARTBEAT_SECONDS,
    Goaway,
    Inventory,
    LinkHello,
    LinkWelcome,
    NodeReply,
    Occupancy,
    document_of,
    framed,
    newest_version,
)
from relayd.remote.offers import NodeOffers
from relayd.remote.replies import Replies
from relayd.remote.transport import LinkTransport

CLOSED_SECONDS = 5.0
"""How long a node may take to dial again after it, or its machine, has closed the connection."""


class HubLimits(Protocol):
    """The settings that a hub follows."""

    resume_seconds: float


class NodeSession:
    """One node, from its first connection until its link is lost or replaced.

    Args:
        name: Of the node.
        offers: What it serves, as capacity here.
        now: Wall-clock seconds.
        address: Where it connects from.

    Attributes:
        link: Its streams.
        link_id: By which the node resumes it.
        inventory: What the node stated last.
        channel: The connection; None while that is broken.
        since: When it came into its state, in wall-clock seconds.
        reason: Why it is not connected; empty where it is.
        is_going: It takes no new requests over this link; another daemon of it may connect beside.
        blocks: Of files that this hub has asked it for.
        on_block: Takes what it sends of files.
    """

    def __init__(self, name: str, offers: NodeOffers, now: float, address: str) -> None:
        self.name = name
        self.link = Link(is_hub=True)
        self.link_id = secrets.token_hex(16)
        self.inventory = Inventory()
        self.channel: LinkChannel | None = None
        self.since, self.address, self.reason = now, address, ""
        self.is_going = False
        self.hello = LinkHello()
        self.offers = offers
        self.replies = Replies()
        self.blocks = Blocks(self.link)
        self.on_block: Callable[[NodeSession, DocumentFrame], None] = lambda _session, _frame: None
        self._transports: dict[int, LinkTransport] = {}

    def __repr__(self) -> str:
        return f"<NodeSession {self.name} {self.reason or 'connected'} {self.link!r}>"

    @property
    def streams(self) -> int:
        """Requests that it works on for this hub."""
        return len(self._transports)

    def carry(self, number: int, transport: LinkTransport) -> None:
        """Have a transport get what comes on a stream."""
        self._transports[number] = transport

    def take(self, event: LinkEvent) -> None:
        """Take what has come from the node."""
        match event:
            case StreamData(number, data):
                if (transport := self._transports.get(number)) is not None:
                    transport.take(data)
            case StreamEnded(number):
                if (transport := self._transports.pop(number, None)) is not None:
                    transport.ended()
            case StreamReset(number, code, reason):
                self.offers.refused(code)
                if (transport := self._transports.pop(number, None)) is not None:
                    transport.reset(code, reason)
            case DocumentFrame():
                self._read(event)

    def lose(self, reset: list[StreamReset]) -> None:
        """End streams that the node does not know any more."""
        for one in reset:
            self.take(one)

    def attached(self, channel: LinkChannel, now: float) -> None:
        """Take note of a connection."""
        self.channel, self.since, self.reason = channel, now, ""

    def broken(self, reason: str, now: float) -> None:
        """Take note that the connection has broken: the node takes nothing new until it is back."""
        self.channel, self.since, self.reason = None, now, reason
        self.offers.pause(f"the link to {self.name} is broken: {reason}")

    def given_up(self) -> None:
        """End every stream: the link will not go on."""
        self.lose(self.link.lose_all())
        self.replies.fail(f"the link to {self.name} was lost")
        self.blocks.lose()

    def _read(self, frame: DocumentFrame) -> None:
        if frame.kind in (FrameKind.WANTED, FrameKind.BLOCK):
            self.on_block(self, frame)
            return
        if frame.kind not in (FrameKind.INVENTORY, FrameKind.OCCUPANCY, FrameKind.REPLY, FrameKind.GOAWAY):
            return
        document = document_of(frame)
        if isinstance(document, Inventory) and not self.is_going:
            self.inventory = document
            cost = self.channel.round_trip_seconds if self.channel is not None else 0.0
            self.offers.follow(document, cost)
        elif isinstance(document, Occupancy) and not self.is_going:
            self.offers.occupy(document.elsewhere)
        elif isinstance(document, NodeReply):
            self.replies.take(document)
        elif isinstance(document, Goaway):
            self.is_going = True
            self.offers.pause(f"{self.name} takes no new requests: {document.reason}")


class NodeHub:
    """Every node that is or was connected since the daemon started.

    Args:
        remotes: Capacity elsewhere.
        clock: Time.
        resume_seconds: How long a link that is silent may take to go on.
        beat_seconds: How often each side sends a sign of life.

    Attributes:
        bus_name: What this hub is called on the bus; empty where it is not there.
        can_wake: Whether it is known how a node is woken.
        on_block: Takes what nodes send of files; None where these do not travel.
    """

    def __init__(
        self,
        remotes: Remotes,
        clock: Clock,
        *,
        resume_seconds: float = 30.0,
        beat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._remotes = remotes
        self._clock = clock
        self.resume_seconds = resume_seconds
        self._beat_seconds = beat_seconds
        self.bus_name = ""
        self.can_wake: Callable[[str], bool] = lambda _: False
        self.on_block: Callable[[NodeSession, DocumentFrame], None] | None = None
        self._sessions: dict[str, NodeSession] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._drained: set[str] = set()
        self._goaway: Goaway | None = None
        self._journal = Journal("remote")

    def __repr__(self) -> str:
        connected = sum(one.channel is not None for one in self._sessions.values())
        return f"<NodeHub nodes={len(self._sessions)} connected={connected}>"

    def __iter__(self) -> Iterator[NodeSession]:
        return iter(tuple(self._sessions.values()))

    def find(self, name: str) -> NodeSession | None:
        """Return a node whose streams can be opened: it is connected, or about to be again."""
        session = self._sessions.get(name)
        return session if session is not None and session.link_id else None

    def node(self, name: str) -> NodeSession:
        """Return a node that is connected.

        Raises:
            NotFoundError: It is not.
        """
        session = self._sessions.get(name)
        if session is None or session.channel is None:
            connected = ", ".join(one.name for one in self if one.channel is not None) or "none"
            raise NotFoundError(
                f"The node {name[:128]!r} is not connected.",
                remedy=f"Connected: {connected}. See `relayd nodes`.",
            )
        return session

    def is_drained(self, name: str) -> bool:
        """Return whether a node gets no new requests, by command."""
        return name in self._drained

    def drain(self, name: str, *, drained: bool) -> None:
        """Give a node no new requests from now on, or give it some again."""
        (self._drained.add if drained else self._drained.discard)(name)
        if (session := self._sessions.get(name)) is not None:
            session.offers.drain(drained=drained)

    async def command(self, name: str, verb: str, target: str, lines: int = 50) -> NodeReply:
        """Have a node carry out a verb, and return its answer.

        Raises:
            NotFoundError: It is not connected.
        """
        session = self.node(name)
        return await session.replies.ask(session.link, verb, target, lines)

    async def serve(self, socket: Socket, name: str, address: str) -> None:
        """Carry the link of a node over a connection, until that ends.

        Args:
            socket: The connection, accepted.
            name: Of the node, as its token has it.
            address: Where it connects from.
        """
        try:
            hello = await take_hello(socket)
            version = newest_version(hello.versions)
            if version is None:
                await refuse(socket, "version", f"this hub knows version {max(LinkHello().versions)} only")
                return
            if self._goaway is not None:
                await refuse(socket, "going", self._goaway.reason)
                return
            session, points = await self._session(name, hello, address)
            await welcome(socket, self._welcome(session, version, points))
            session.lose(session.link.attach(hello.points if points is not None else None))
        except LinkError as error:
            self._journal.warning("node.refused", node=name, address=address, reason=error.message)
            await close(socket)
            return
        await self._carry(session, socket, is_new=points is None)

    async def _session(
        self, name: str, hello: LinkHello, address: str
    ) -> tuple[NodeSession, dict[int, int] | None]:
        """Return the session of a node, and how far its streams have come if its link goes on."""
        known = self._sessions.get(name)
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        if (
            known is not None and known.channel is not None and not known.is_going
        ):  # it noticed the break before this side did
            self._journal.info("node.replaced", node=name, address=address)
            await known.channel.stop()
        if known is not None and known.is_going and known.channel is not None:
            self._journal.info("node.taken_over", node=name, streams=len(known.link))
        elif known is not None and hello.link and known.link_id == hello.link:
            known.hello, known.address = hello, address
            return known, known.link.points()
        elif known is not None:
            known.given_up()
            known.offers.await_anew(f"{name} has begun a new link")
        offers = known.offers if known is not None else NodeOffers(name, self._remotes, self.find)
        offers.begin(hello.label, drained=name in self._drained)
        session = self._sessions[name] = NodeSession(name, offers, self._clock.wall(), address)
        session.hello = hello
        if self.on_block is not None:
            session.on_block = self.on_block
        return session, None

    def _welcome(self, session: NodeSession, version: int, points: dict[int, int] | None) -> LinkWelcome:
        return LinkWelcome(
            version,
            session.name,
            session.link_id,
            points,
            self.resume_seconds,
            self._beat_seconds,
            self.bus_name,
            self.on_block is not None,
        )

    async def _carry(self, session: NodeSession, socket: Socket, *, is_new: bool) -> None:
        channel = LinkChannel(
            session.link, socket, session.take, self._clock, beat_seconds=self._beat_seconds
        )
        session.attached(channel, self._clock.wall())
        self._journal.info(
            "node.connected" if is_new else "node.resumed",
            node=session.name,
            address=session.address,
            version=session.hello.relayd,
            streams=len(session.link),
        )
        if not is_new:
            session.offers.go_on()
        reason = "this hub ended"
        try:
            reason = await channel.run()
        finally:
            if self._sessions.get(session.name) is not session:
                session.given_up()  # another daemon of the node has taken over
            elif session.channel is channel:
                self._broken(session, reason, closed=channel.was_closed)

    def _broken(self, session: NodeSession, reason: str, *, closed: bool) -> None:
        session.broken(reason, self._clock.wall())
        self._journal.warning(
            "node.disconnected", node=session.name, reason=reason, streams=len(session.link)
        )
        seconds = min(CLOSED_SECONDS, self.resume_seconds) if closed else self.resume_seconds
        loop = asyncio.get_running_loop()
        self._timers[session.name] = loop.call_later(seconds, self._give_up, session)

    def _give_up(self, session: NodeSession) -> None:
        """Take note that a node is not back in time: its requests go elsewhere."""
        self._timers.pop(session.name, None)
        self._journal.warning("node.lost", node=session.name, streams=len(session.link))
        session.link_id = ""
        session.offers.lose(f"{session.name} is not connected", wakes=self.can_wake(session.name))
        session.given_up()

    async def forget(self, name: str) -> None:
        """Cut a node off, and forget it: its token is not valid any more."""
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        if (session := self._sessions.pop(name, None)) is None:
            return
        if session.channel is not None:
            await session.channel.stop()
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        session.given_up()
        session.offers.withdraw("the node was removed")

    def go_away(self, reason: str, seconds: float | None) -> None:
        """Have every node dial again: this daemon ends, or another takes over."""
        self._goaway = Goaway(reason, seconds)
        for session in self:
            session.link.send(framed(self._goaway))

    async def close(self) -> None:
        """Close every connection."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for session in self:
            if session.channel is not None:
                await session.channel.stop()
            session.given_up()
        for timer in self._timers.values():
            timer.cancel()

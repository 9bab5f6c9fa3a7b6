"""This daemon as a hub of other machines, and as a node of other hubs: who may join, and who is there."""

import asyncio
import socket
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from relayd.api import FailedKeys
from relayd.api.keys import unauthorized
from relayd.api.nodes import NodeDoor
from relayd.clock import Clock
from relayd.config import Config, parse_addresses
from relayd.daemon.keybook import KeyBook
from relayd.daemon.nodereport import (
    InviteReport,
    JoinedHubReport,
    NodeAccountReport,
    NodeReplicaReport,
    NodeReport,
    NodesReport,
    TokenReport,
)
from relayd.errors import KeyUnknownError, NotFoundError, TooManyFailedKeysError, UsageError
from relayd.journal import Journal
from relayd.remote.bus.subjects import SCHEME
from relayd.remote.capacity import RemoteCapacity, Remotes
from relayd.remote.channel import Socket
from relayd.remote.dial import dial_hub
from relayd.remote.hub import NodeHub, NodeSession
from relayd.remote.hublink import NodeFacts
from relayd.remote.invites import INVITE_SECONDS, Invites
from relayd.remote.node import DialledHub, HubConnection
from relayd.remote.providers import read_rules
from relayd.rights import KeyRights, StoredKey, check_name
from relayd.router import Pools
from relayd.scheduler import Scheduler
from relayd.secret import Secret
from relayd.store.hubs import JoinedHub, JoinedHubs

if TYPE_CHECKING:
    from relayd.daemon.bus import BusPlace

NODE_SCOPE = ("node",)
"""What a node's token is for, and nothing else."""

PLAIN = "The link is not encrypted: set tls_cert and tls_key in [server], or put a proxy with TLS in front."

BUS_REMOVAL = "Delete its file, run `relayd bus init` in that folder again, and reload nats-server."

_UNREACHABLE = "This hub listens on this machine only. Let it listen wider: relayd serve --hub"


class Nodes:
    """The nodes of this hub: their tokens, invites and connections.

    Args:
        remotes: Capacity elsewhere.
        keys: Where tokens are.
        scheduler: Knows what runs where.
        clock: Time.
        is_enabled: Whether other machines may join.

    Attributes:
        hub: Who is connected.
        bus: This daemon's place on the bus; None without one.
    """

    def __init__(
        self, remotes: Remotes, keys: KeyBook, scheduler: Scheduler, clock: Clock, *, is_enabled: bool
    ) -> None:
        self.hub = NodeHub(remotes, clock)
        self.bus: BusPlace | None = None
        self.is_enabled = is_enabled
        self._remotes, self._keys, self._scheduler = remotes, keys, scheduler
        self._invites = Invites(clock)
        self._failed = FailedKeys(clock)
        self._config = Config()
        self._url = ""
        self._journal = Journal("daemon")

    def __repr__(self) -> str:
        return f"<Nodes {self.hub!r} {self._invites!r}>"

    @property
    def door(self) -> NodeDoor | None:
        """Who answers nodes; None where no other machine may join."""
        return NodeDoor(self.hub.serve, self.join) if self.is_enabled else None

    def follow(self, config: Config, url: str) -> None:
        """Follow the configuration; `url` is where clients connect."""
        self._config, self._url = config, url
        self.hub.resume_seconds = config.hub.resume_seconds
        self._remotes.rule(read_rules(config.hub.providers))

    def invite(self, name: str) -> InviteReport:
        """Return an invite for a node that is new, or is to get another token.

        Raises:
            UsageError: This daemon lets no nodes join, or the name is malformed or that of a client's key.
        """
        self._check_hub()
        check_name(name)
        if (known := self._token_of(name)) is not None and known.rights.scopes != NODE_SCOPE:
            raise UsageError(f"there is a key {name!r} already, of clients", remedy="Choose another name.")
        url, note = self._reachable()
        invite = self._invites.make(name)
        self._journal.info("node.invited", node=name)
        return InviteReport(name, f"{url}/{invite.reveal()}", INVITE_SECONDS, note)

    async def token(self, name: str) -> TokenReport:
        """Return a token for a node that lasts until it is removed.

        Raises:
            UsageError: This daemon lets no nodes join, or the name is malformed or that of a client's key.
            StateError: It cannot be written.
        """
        self._check_hub()
        check_name(name)
        return TokenReport(name, (await self._make_token(name)).reveal(), self._reachable()[0])

    async def join(self, invite: Secret, address: str) -> tuple[str, Secret]:
        """Exchange an invite for a token.

        Raises:
            UnauthorizedError: The invite is not valid.
            TooManyFailedKeysError: Too many wrong ones came from this address.
        """
        name = self._invites.redeem(invite)
        if name is None:
            seconds = self._failed.count(address)
            self._journal.warning("node.invite_refused", address=address)
            if seconds is None:
                raise unauthorized()
            raise TooManyFailedKeysError(
                "Too many wrong invites came from this address.",
                remedy="Wait, and make another one on the hub: `relayd nodes invite NAME`.",
                retry_after_seconds=seconds,
            )
        token = await self._make_token(name)
        self._journal.info("node.joined", node=name, address=address)
        return name, token

    async def remove(self, name: str) -> NodesReport:
        """Take a node's token back, and cut it off.

        Raises:
            NotFoundError: There is no such node.
            StateError: It cannot be written.
        """
        known = self._token_of(name)
        if known is None and self.bus is not None and any(session.name == name for session in self.hub):
            raise UsageError(f"{name} is a node of the bus", remedy=BUS_REMOVAL)
        if known is None or known.rights.scopes != NODE_SCOPE:
            raise NotFoundError(f"There is no node {name[:128]!r}.", remedy="See them: `relayd nodes`.")
        await self._keys.revoke(known.id)
        await self.hub.forget(name)
        return self.report()

    def drain(self, name: str, *, drained: bool) -> NodesReport:
        """Give a node no new requests, or give it some again.

        Raises:
            NotFoundError: There is no such node.
        """
        if self._token_of(name) is None and all(session.name != name for session in self.hub):
            raise NotFoundError(f"There is no node {name[:128]!r}.", remedy="See them: `relayd nodes`.")
        self.hub.drain(name, drained=drained)
        self._journal.info("node.drained" if drained else "node.undrained", node=name)
        return self.report()

    def go_away(self, reason: str, seconds: float | None) -> None:
        """Have every node dial again: this daemon ends, or another takes over."""
        if self.bus is not None:
            self.bus.go_away()
        self.hub.go_away(reason, seconds)

    def report(self, hubs: Iterable[JoinedHubReport] = ()) -> NodesReport:
        """Return every node, connected or not."""
        sessions = {session.name: session for session in self.hub}
        offers: dict[str, list[RemoteCapacity]] = {}
        for one in self._remotes:
            if one.offer.kind == "node":
                offers.setdefault(one.offer.origin, []).append(one)
        tokens = [
            key.name for key in self._keys.every() if key.revoked is None and key.rights.scopes == NODE_SCOPE
        ]
        names = dict.fromkeys((*tokens, *sessions))  # those that the bus connects have no token here
        nodes = tuple(self._node(name, sessions.get(name), offers.get(name, ())) for name in names)
        bus = self.bus.report() if self.bus is not None else None
        return NodesReport(self.is_enabled or bus is not None, nodes, tuple(hubs), bus)

    def _node(self, name: str, session: NodeSession | None, offers: Iterable[RemoteCapacity]) -> NodeReport:
        drained = self.hub.is_drained(name)
        if session is None:
            return NodeReport(name, "drained" if drained else "away", reason="it has not connected yet")
        channel, inventory = session.channel, session.inventory
        state = "connected" if channel is not None else "broken" if session.link_id else "away"
        return NodeReport(
            name,
            "drained" if drained and channel is not None else state,
            session.since,
            session.reason,
            session.address,
            session.hello.relayd,
            inventory.platform,
            inventory.label or session.hello.label,
            channel.round_trip_seconds if channel is not None else 0.0,
            session.streams,
            inventory.devices,
            tuple(NodeAccountReport(a.account, a.capacity, a.held, a.free) for a in inventory.accounts),
            tuple(map(self._replica, offers)),
        )

    def _replica(self, one: RemoteCapacity) -> NodeReplicaReport:
        name = one.offer.replica
        running = self._scheduler.running_on(name)
        return NodeReplicaReport(name, one.offer.model, one.state.value, one.offer.slots, running, one.reason)

    async def _make_token(self, name: str) -> Secret:
        known = self._token_of(name)
        if known is None:
            return (await self._keys.create(name, KeyRights(scopes=NODE_SCOPE)))[1]
        if known.rights.scopes != NODE_SCOPE:
            raise UsageError(f"there is a key {name!r} already, of clients", remedy="Choose another name.")
        return (await self._keys.rotate(known.id))[1]

    def _token_of(self, name: str) -> StoredKey | None:
        try:
            found = self._keys.find(name)
        except KeyUnknownError:
            return None
        return None if found.revoked is not None else found

    def _check_hub(self) -> None:
        if not self.is_enabled:
            raise UsageError(
                "this daemon lets no nodes join",
                remedy="Start it with `relayd serve --hub`, or set enabled = true in [hub] and restart it.",
            )

    def _reachable(self) -> tuple[str, str]:
        """Return where nodes reach this hub, and what is to be known of that."""
        if self._config.hub.url:
            return self._config.hub.url, ""
        scheme = "wss" if self._url.startswith("https") else "ws"
        port = urlsplit(self._url).port
        host = parse_addresses(self._config.server.listen)[0].host
        note = "" if scheme == "wss" else PLAIN
        if host in ("127.0.0.1", "::1", "localhost"):
            note = _UNREACHABLE
        elif host in ("0.0.0.0", "::"):  # noqa: S104 - compared with, never bound
            host = own_address()
        shown = f"[{host}]" if ":" in host else host
        return f"{scheme}://{shown}:{port}", note


def own_address() -> str:
    """Return the address that this machine has in its network; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1: connecting a datagram socket only picks a route
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


class BusHubs(Protocol):
    """The hubs that are on the bus."""

    def __iter__(self) -> Iterator[str]:
        """Yield their addresses, `bus://NAME`."""
        ...

    async def dial(self, stack: AsyncExitStack, entry: DialledHub) -> Socket:
        """Connect to one as soon as it is there."""
        ...


class Membership:
    """The hubs that this machine is a node of.

    Args:
        state: The state folder.
        pools: Connections to the replicas.
        clock: Time.
    """

    def __init__(self, state: Path, pools: Pools, clock: Clock) -> None:
        self._store = JoinedHubs(state)
        self._pools, self._clock = pools, clock
        self._running: dict[str, tuple[JoinedHub, HubConnection, asyncio.Task[None]]] = {}
        self._facts: NodeFacts | None = None
        self._most_bytes = 0
        self._bus: tuple[str, BusHubs] | None = None
        self._following, self._looks = asyncio.Lock(), set[asyncio.Task[None]]()
        self._journal = Journal("daemon")

    def __repr__(self) -> str:
        return f"<Membership hubs={len(self._running)}>"

    async def begin(self, facts: NodeFacts, most_bytes: int) -> None:
        """Dial every hub, from now on."""
        self._facts, self._most_bytes = facts, most_bytes
        await self.follow()

    def reach(self, name: str, bus: "BusHubs") -> None:
        """Dial the hubs of a bus too, as far as this machine does not reach them directly."""
        self._bus = name, bus

    def follow_soon(self) -> None:
        """Look again which hubs are to be dialled; returns at once."""
        task = asyncio.get_running_loop().create_task(self.follow())
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def follow(self) -> None:
        """Dial the hubs that are in the file now, and on the bus, and leave those that are not any more."""
        async with self._following:
            await self._follow()

    async def _follow(self) -> None:
        if self._facts is None:
            return
        wanted = {hub.url: hub for hub in await asyncio.to_thread(self._store.read)}
        if self._bus is not None:
            direct = {f"{SCHEME}{one.hub}" for url, (_, one, _) in self._running.items() if url in wanted}
            wanted |= {url: JoinedHub(url, "", self._bus[0]) for url in self._bus[1] if url not in direct}
        for url, (hub, _, task) in tuple(self._running.items()):
            if wanted.get(url) != hub:
                del self._running[url]
                await _ended(task)
        for url, hub in wanted.items():
            if url not in self._running:
                entry = DialledHub(url, hub.secret, hub.provider)
                is_direct = not url.startswith(SCHEME)
                made = HubConnection(
                    entry,
                    dial_hub if is_direct or self._bus is None else self._bus[1].dial,
                    self._facts,
                    self._pools,
                    self._clock,
                    most_bytes=self._most_bytes,
                    on_connected=self.follow_soon if is_direct else lambda: None,
                )
                self._running[url] = hub, made, asyncio.create_task(made.run())

    async def join(self, hub: JoinedHub) -> None:
        """Be a node of a hub from now on.

        Raises:
            StateError: It cannot be written down.
        """
        await asyncio.to_thread(self._store.add, hub)
        self._journal.info("hub.joined", hub=hub.url, node=hub.node)
        await self.follow()

    def report(self) -> tuple[JoinedHubReport, ...]:
        """Return the hubs, and how this machine stands with each."""
        return tuple(
            JoinedHubReport(url, one.node or hub.node, one.state, one.since, hub.provider)
            for url, (hub, one, _) in self._running.items()
        )

    async def leave(self, url: str) -> None:
        """Leave a hub.

        Raises:
            NotFoundError: It is none.
            StateError: It cannot be written.
        """
        if not await asyncio.to_thread(self._store.remove, url):
            known = ", ".join(self._running) or "none"
            raise NotFoundError(
                f"This machine has not joined {url[:200]!r}.", remedy=f"It has joined: {known}."
            )
        await self.follow()

    def go_away(self) -> None:
        """Take no new requests of hubs: this daemon ends, or another has taken over."""
        for _, one, _ in self._running.values():
            one.go_away("this daemon ends")

    async def finished(self, seconds: float) -> None:
        """After `go_away`, return when no request of a hub is left, or so many seconds later."""
        if tasks := {task for _, one, task in self._running.values() if one.streams}:
            await asyncio.wait(tasks, timeout=seconds)

    async def close(self) -> None:
        """Leave every hub for now; their requests here are cancelled."""
        for _, _, task in self._running.values():
            await _ended(task)
        self._running.clear()


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

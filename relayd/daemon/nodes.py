"""This daemon as a hub of other machines: who may join, and who is there."""

import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING
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
from relayd.remote.capacity import RemoteCapacity, Remotes
from relayd.remote.hub import NodeHub, NodeSession
from relayd.remote.invites import INVITE_SECONDS, Invites
from relayd.remote.providers import read_rules
from relayd.rights import KeyRights, StoredKey, check_name
from relayd.scheduler import Scheduler
from relayd.secret import Secret

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
            len(inventory.files),
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

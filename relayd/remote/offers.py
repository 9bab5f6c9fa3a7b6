"""How does what one node serves become offers of capacity here, and stay true?"""

import math
from collections.abc import Callable, Mapping

from relayd.profile import LOCAL, EndpointProfile
from relayd.remote.capacity import LEAST_COST, RemoteOffer, Remotes
from relayd.remote.frames import ResetCode
from relayd.remote.messages import Inventory, ServedProfile, ServedReplica
from relayd.remote.transport import LinkAddress, LinkEnd

_COST_STEP = 0.01
"""Seconds to which the cost of a node is rounded up: it changes seldom."""

DRAINED = "it is drained: relayd nodes undrain"


class NodeOffers:
    """The offers of one node.

    Args:
        node: Its name.
        remotes: Where they are made.
        find: Returns the link to a node.
    """

    def __init__(self, node: str, remotes: Remotes, find: Callable[[str], LinkEnd | None]) -> None:
        self._node = node
        self._remotes = remotes
        self._find = find
        self._served: dict[str, ServedReplica] = {}
        self._elsewhere: Mapping[str, int] = {}
        self._cost = LEAST_COST
        self._is_drained = self._is_paused = False
        self._provider = ""

    def __repr__(self) -> str:
        return f"<NodeOffers of {self._node}: {len(self._served)} replicas>"

    def follow(self, inventory: Inventory, cost_seconds: float) -> None:
        """RemoteOffer what a node states that it serves, and withdraw what it does not any more."""
        before, self._served = self._served, {one.replica: one for one in inventory.replicas}
        if cost_seconds:
            self._cost = max(LEAST_COST, _COST_STEP * math.ceil(cost_seconds / _COST_STEP))
        self._is_paused = inventory.draining
        for replica in before.keys() - self._served.keys():
            self._remotes.withdraw(self.name_of(replica), f"{self._node} does not serve it any more")
        for one in self._served.values():
            self._offer(one)

    def occupy(self, elsewhere: Mapping[str, int]) -> None:
        """Take note of the slots that others use."""
        before, self._elsewhere = self._elsewhere, elsewhere
        for replica, one in self._served.items():
            if before.get(replica, 0) != elsewhere.get(replica, 0):
                self._offer(one)

    def refused(self, code: int) -> None:
        """Take note that a stream was reset; a claim that the node did not hold shows that slots are taken.

        The node reports which ones before it refuses a claim, so there is nothing to add.
        """
        if code == ResetCode.DRAINING:
            self.pause(f"{self._node} takes no new requests")

    def pause(self, reason: str) -> None:
        """Have it take nothing new; what runs goes on."""
        self._is_paused = True
        for replica in self._served:
            self._remotes.pause(self.name_of(replica), reason)

    def go_on(self) -> None:
        """Have it take requests again."""
        self._is_paused = False
        for one in self._served.values():
            self._offer(one)

    def begin(self, provider: str, *, drained: bool) -> None:
        """Take note of a new link, and of the node's label; what it serves is stated anew."""
        self._elsewhere, self._is_paused, self._is_drained = {}, False, drained
        self._provider = provider

    def drain(self, *, drained: bool) -> None:
        """Have it take nothing new until further notice, or take requests again."""
        self._is_drained = drained
        for one in self._served.values():
            self._offer(one)

    def lose(self, reason: str, *, wakes: bool = False) -> None:
        """Take note that the node is gone; it may be back, or be woken for a request."""
        for replica, served in self._served.items():
            if wakes and not self._is_drained and served.state in ("ready", "cold", "paused"):
                self._remotes.rest(self._as_offer(served), f"{self._node} sleeps; a request wakes it")
            else:
                self._remotes.give_up(self.name_of(replica), reason)

    def await_anew(self, reason: str) -> None:
        """Take note that the node is back with a new link; what it serves is stated next."""
        for replica in self._served:
            self._remotes.lose(self.name_of(replica), reason)

    def restate(self, replica: str) -> None:
        """State again how a replica stands that was given up after a load of it failed."""
        if (served := self._served.get(replica.rpartition("@")[0])) is not None:
            self._offer(served)

    def withdraw(self, reason: str) -> None:
        """Forget what it serves."""
        for replica in self._served:
            self._remotes.withdraw(self.name_of(replica), reason)
        self._served = {}

    def name_of(self, replica: str) -> str:
        """Return what a replica of the node is called here."""
        return f"{replica}@{self._node}"

    def _offer(self, served: ServedReplica) -> None:
        """RemoteOffer a replica as it is now."""
        name, offer = self.name_of(served.replica), self._as_offer(served)
        if self._is_drained:
            self._remotes.expect(offer)
            self._remotes.pause(name, DRAINED)
        elif served.state == "expected":
            self._remotes.expect(offer)
            self._remotes.lose(name, served.reason or "it is on its way")
        elif served.state == "cold" and served.can_load and not self._is_paused:
            self._remotes.rest(offer, f"it is not in memory of {self._node}; a request has it loaded")
        elif served.state in ("gone", "cold"):
            self._remotes.expect(offer)
            self._remotes.give_up(name, served.reason or f"it is not in memory of {self._node}")
        elif served.state != "ready" or self._is_paused or offer.slots < 1:
            self._remotes.expect(offer)
            self._remotes.pause(name, served.reason or "others use all of its slots")
        else:
            self._remotes.offer(offer)

    def _as_offer(self, served: ServedReplica) -> RemoteOffer:
        free = served.slots - self._elsewhere.get(served.replica, 0)
        return RemoteOffer(
            self.name_of(served.replica),
            served.model,
            max(0, free),
            LinkAddress(self._node, served.replica, served.incarnation, self._find),
            LOCAL if served.profile is None else _profile(served.profile),
            cost=self._cost,
            origin=self._node,
            kind="node",
            context=served.context,
            abilities=served.abilities,
            aliases=served.aliases,
            provider=self._provider,
        )


def _profile(served: ServedProfile) -> EndpointProfile:
    """Return the profile of a server that the node reaches itself: the node adds base and key."""
    return EndpointProfile(
        model=served.model,
        half_closes=True,
        continues=served.continues,
        silence_seconds=served.silence_seconds,
    )

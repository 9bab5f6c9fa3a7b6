"""What the figures of `/metrics` are for other machines; how many labels they may make is bounded."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol

from relayd.daemon.nodereport import NodeReport
from relayd.daemon.parts import DaemonParts
from relayd.remote import OfferState, RemoteCapacity

MOST_ORIGINS = 500
"""Upstreams, nodes and workers that have figures of their own."""

MOST_MODELS = 500
"""Models of other machines that have figures: a list of a paid service can be longer."""

MOST_ACCOUNTS = 17
"""Accounts of one node: its RAM and 16 devices."""


class FigureSink(Protocol):
    """Where figures are collected."""

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a value."""
        ...

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add to a value."""
        ...


def collect_elsewhere(found: FigureSink, parts: DaemonParts) -> None:
    """Collect the figures of upstreams, nodes and workers, and of the models that only they serve."""
    own = {model.name for model in parts.desired.config.model}
    theirs = (model.name for model in parts.remotes.models() if model.name not in own)
    for name in islice(theirs, MOST_MODELS):
        load = parts.scheduler.load(name)
        found.set("relayd_requests_running", load.running, name)
        found.set("relayd_requests_waiting", load.waiting, name)
        found.set("relayd_slots", load.slots, name)
    for one in _of_first_origins(parts.remotes):
        origin, kind = one.offer.origin, one.offer.kind
        is_ready = one.state is OfferState.READY
        found.add("relayd_origin_models", float(is_ready), origin, kind)
        found.add("relayd_origin_slots", one.offer.slots if is_ready else 0, origin, kind)
        found.add("relayd_origin_running", parts.scheduler.running_on(one.offer.replica), origin, kind)
    for node in islice(parts.nodes.report().nodes, MOST_ORIGINS):
        _node(found, node)


def _of_first_origins(offers: Iterable[RemoteCapacity]) -> Iterator[RemoteCapacity]:
    """Yield what the first origins offer, as many as have figures."""
    known: set[str] = set()
    for one in offers:
        if one.offer.origin in known or len(known) < MOST_ORIGINS:
            known.add(one.offer.origin)
            yield one


def _node(found: FigureSink, node: NodeReport) -> None:
    found.set("relayd_node_connected", float(node.state in ("connected", "drained")), node.name)
    if node.round_trip_seconds:
        found.set("relayd_node_round_trip_seconds", node.round_trip_seconds, node.name)
    for account in node.accounts[:MOST_ACCOUNTS]:
        for kind in ("capacity", "held", "free"):
            found.set(
                "relayd_node_memory_bytes", getattr(account, kind), node.name, account.account[:64], kind
            )

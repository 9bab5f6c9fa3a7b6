"""What have the machines of each provider, and what have they done (for `/admin/stats`)?"""

from collections.abc import Mapping

from relayd.daemon.adminreport import ProviderStats
from relayd.daemon.parts import DaemonParts
from relayd.remote import OfferState, RemoteCapacity
from relayd.supervisor import State

PROVIDER = "local"
"""What ModelRelay calls the workers of a daemon that names no provider."""


def provider_stats(parts: DaemonParts) -> Mapping[str, ProviderStats]:
    """Return provider → what its machines do; `local` is this machine, and `""` what has no label."""
    ready = [one.spec for one in parts.fleet.statuses() if one.state is State.READY]
    done = parts.totals.origins
    offers: dict[str, list[RemoteCapacity]] = {PROVIDER: []}
    for one in parts.remotes:
        offers.setdefault(one.offer.provider, []).append(one)
    found = {label: _of(some, parts, done) for label, some in offers.items()}
    others = found[PROVIDER]
    here = ProviderStats(
        others.origins,
        others.slots + sum(one.slots for one in ready),
        others.running + sum(parts.scheduler.running_on(one.name) for one in ready),
        others.requests + done.get("", 0),
    )
    return {**found, PROVIDER: here}


def _of(offers: list[RemoteCapacity], parts: DaemonParts, done: Mapping[str, int]) -> ProviderStats:
    origins = tuple(dict.fromkeys(one.offer.origin for one in offers))
    return ProviderStats(
        origins,
        sum(one.offer.slots for one in offers if one.state is OfferState.READY),
        sum(parts.scheduler.running_on(one.offer.replica) for one in offers),
        sum(done.get(origin, 0) for origin in origins),
    )

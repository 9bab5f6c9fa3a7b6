"""Other machines: capacity elsewhere, from upstreams and nodes."""

from relayd.remote.capacity import LEAST_COST, OfferState, RemoteCapacity, RemoteModel, RemoteOffer, Remotes
from relayd.remote.source import UpstreamSource, WantedModel
from relayd.remote.upstream import UpstreamWatch
from relayd.remote.upstreams import Upstreams

__all__ = [
    "LEAST_COST",
    "OfferState",
    "RemoteCapacity",
    "RemoteModel",
    "RemoteOffer",
    "Remotes",
    "UpstreamSource",
    "UpstreamWatch",
    "Upstreams",
    "WantedModel",
]

"""This daemon on the bus, as a hub that nodes reach over it or as a node that dials hubs there ([bus])."""

import importlib.util
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from relayd.clock import Clock
from relayd.config.schema import BusSettings
from relayd.daemon.nodereport import BusReport
from relayd.errors import ConfigError

if TYPE_CHECKING:
    from relayd.daemon.membership import Membership
    from relayd.daemon.nodes import Nodes


class BusPlace(msgspec.Struct, frozen=True):
    """This daemon's place on the bus.

    Attributes:
        work: What keeps it there, until cancelled.
        report: Returns how it stands.
        go_away: Lets another daemon of this machine have it.
    """

    work: Callable[[], Coroutine[Any, Any, None]]
    report: Callable[[], BusReport]
    go_away: Callable[[], None]


def bus_place(
    settings: BusSettings, nodes: "Nodes", membership: "Membership", clock: Clock
) -> BusPlace | None:
    """Return the place that is configured; None where none is, and nothing of NATS is imported then.

    Raises:
        ConfigError: nats-py is not installed, or the credentials cannot be used.
    """
    if not settings.url:
        return None
    if importlib.util.find_spec("nats") is None:
        raise ConfigError(
            "the bus needs nats-py, which is not installed", remedy="Install it: pip install 'relayd[nats]'."
        )
    from relayd.remote.bus.credentials import read_credentials  # noqa: PLC0415 - only with a bus
    from relayd.remote.bus.meeting import BusHub, BusNode  # noqa: PLC0415 - only with a bus
    from relayd.remote.bus.subjects import BusRole  # noqa: PLC0415 - only with a bus

    if not settings.credentials:
        raise ConfigError(
            f"there are no credentials for the bus {settings.url}",
            remedy="`relayd bus init` makes them; give the file with --bus-credentials.",
        )
    mine = read_credentials(Path(settings.credentials).expanduser())
    if mine.role is BusRole.HUB:
        nodes.hub.bus_name = mine.name
        hub = BusHub(settings.url, mine, nodes.hub.serve)
        bus, run, go_away = hub.bus, hub.run, hub.go_away
    else:
        node = BusNode(settings.url, mine, clock, membership.follow_soon)
        membership.reach(mine.name, node)
        bus, run, go_away = node.bus, node.bus.run, _nothing
    return BusPlace(run, lambda: BusReport(settings.url, mine.role.value, mine.name, bus.state), go_away)


def _nothing() -> None:
    """Do nothing: a node that goes has stopped to dial."""

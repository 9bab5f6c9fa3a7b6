"""On which subjects do hubs and nodes meet on NATS, and which of them may each one use (permissions)?

    relayd.v1.up.NODE.HUB.SESSION     a node to a hub: pieces of one connection
    relayd.v1.down.NODE.HUB.SESSION   a hub to a node: likewise
    relayd.v1.hub.HUB                 a hub to all: it is there, every few seconds

The server holds each credential to the subjects of its own name, so the name in a subject proves who sent it,
and no node can read what another one is asked or answers.
"""

import re
from enum import Enum

import msgspec

from relayd.errors import UsageError

SCHEME = "bus://"
"""Of the address of a hub that is reached over the bus: `bus://NAME`."""

_ROOT = "relayd.v1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class BusRole(Enum):
    """What a machine does on the bus."""

    HUB = "hub"
    NODE = "node"


class BusPermissions(msgspec.Struct, frozen=True):
    """The subjects that a credential may publish on, and subscribe to."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def check_bus_name(name: str) -> None:
    """Refuse a name that cannot be a part of a subject.

    Raises:
        UsageError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} cannot be the name of a machine on the bus",
            remedy="Use letters, digits, - and _; at most 64.",
        )


def up(node: str, hub: str, session: str) -> str:
    """Return where a node sends the pieces of a connection."""
    return f"{_ROOT}.up.{node}.{hub}.{session}"


def down(node: str, hub: str, session: str) -> str:
    """Return where a hub sends the pieces of a connection."""
    return f"{_ROOT}.down.{node}.{hub}.{session}"


def presence(hub: str) -> str:
    """Return where a hub shows that it is there; of `*`, where all do."""
    return f"{_ROOT}.hub.{hub}"


def inbox(name: str) -> str:
    """Return the prefix of the inboxes of one credential: answers to it reach no other."""
    return f"_INBOX_{name}"


def last_parts(subject: str) -> tuple[str, str, str]:
    """Return node, hub and session of a subject of pieces."""
    _, node, hub, session = subject.rsplit(".", 3)
    return node, hub, session


def permissions(role: BusRole, name: str) -> BusPermissions:
    """Return what a credential may use."""
    if role is BusRole.NODE:
        return BusPermissions(
            publish=(up(name, "*", "*"),),
            subscribe=(down(name, "*", "*"), presence("*"), f"{inbox(name)}.>"),
        )
    return BusPermissions(
        publish=(down("*", name, "*"), presence(name)),
        subscribe=(up("*", name, "*"), f"{inbox(name)}.>"),
    )

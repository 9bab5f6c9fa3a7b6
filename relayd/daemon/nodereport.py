"""What a daemon reports of its nodes, and of the hubs that it is a node of (values with one JSON form)."""

from msgspec import Struct


class NodeAccountReport(Struct, frozen=True, omit_defaults=True):
    """One account of a node's memory ledger, in bytes."""

    account: str
    capacity: int
    held: int = 0
    free: int = 0


class NodeReplicaReport(Struct, frozen=True, omit_defaults=True):
    """One replica of a node.

    Attributes:
        name: `MODEL#N@NODE`.
        state: As this hub sees it: `ready`, `paused`, `expected`, `lost` or `gone`.
        slots: Requests that it takes from this hub at once; those that others use are not among them.
        running: Requests of this hub that it works on.
        reason: Why it takes nothing; empty where it does.
    """

    name: str
    model: str
    state: str
    slots: int = 0
    running: int = 0
    reason: str = ""


class NodeReport(Struct, frozen=True, omit_defaults=True):
    """One node of this hub.

    Attributes:
        state: `connected`, `drained`, `broken` (its requests wait for it), `away`, or `invited`.
        since: When it came into that state, in seconds since 1970; 0 is not known.
        reason: Why it is not connected.
        provider: What its operator calls its owner or place.
        round_trip_seconds: There and back, at the last sign of life.
        files: How many model files other machines may have from it.
    """

    name: str
    state: str
    since: float = 0.0
    reason: str = ""
    address: str = ""
    version: str = ""
    platform: str = ""
    provider: str = ""
    round_trip_seconds: float = 0.0
    streams: int = 0
    devices: tuple[str, ...] = ()
    accounts: tuple[NodeAccountReport, ...] = ()
    replicas: tuple[NodeReplicaReport, ...] = ()
    files: int = 0


class JoinedHubReport(Struct, frozen=True, omit_defaults=True):
    """A hub that this machine is a node of.

    Attributes:
        node: What the hub calls this machine.
        state: `connected`, or why it is not.
        since: When it came into that state, in seconds since 1970.
    """

    url: str
    node: str = ""
    state: str = ""
    since: float = 0.0
    provider: str = ""


class BusReport(Struct, frozen=True, omit_defaults=True):
    """This machine on the bus.

    Attributes:
        role: `hub` or `node`.
        name: What it is called there.
        state: `connected`, or why it is not.
    """

    url: str
    role: str = ""
    name: str = ""
    state: str = ""


class NodesReport(Struct, frozen=True, omit_defaults=True):
    """The nodes of this daemon, and the hubs that it is a node of.

    Attributes:
        is_hub: Whether other machines may join it.
        bus: How it stands on the bus; None without one.
    """

    is_hub: bool = False
    nodes: tuple[NodeReport, ...] = ()
    hubs: tuple[JoinedHubReport, ...] = ()
    bus: BusReport | None = None


class BroughtReport(Struct, frozen=True):
    """How many bytes of a file are here that other machines have; -1 where none has it."""

    bytes: int


class InviteReport(Struct, frozen=True):
    """An invite for a node: what to type there, and until when it holds.

    Attributes:
        join: The address with the invite, for `relayd join`.
        seconds: How long it is valid.
        note: What else is to be known.
    """

    node: str
    join: str
    seconds: float
    note: str = ""

    def __repr__(self) -> str:
        return f"InviteReport(node={self.node!r})"


class TokenReport(Struct, frozen=True):
    """A lasting token of a node; in the answer that makes it and nowhere else."""

    node: str
    token: str
    url: str

    def __repr__(self) -> str:
        return f"TokenReport(node={self.node!r})"

"""What is reported of servers elsewhere, as values with one JSON form."""

from typing import ClassVar

from msgspec import Struct


class RemoteReplicaReport(Struct, frozen=True):
    """A model at an upstream or a node.

    Attributes:
        replica: `MODEL@NAME`.
        state: `expected`, `ready`, `paused`, `lost` or `gone`.
        slots: Requests that it works on at once.
        running: Requests of ours there.
        cost: Seconds that a request rather waits for something cheaper.
        weight: How many requests it gets, relative to others that cost the same.
        reason: Why it takes nothing; empty where it does.
    """

    replica: str
    model: str
    state: str = ""
    slots: int = 0
    running: int = 0
    cost: float = 0.0
    weight: float = 1.0
    reason: str = ""


class UpstreamReport(Struct, frozen=True):
    """A server elsewhere, and what it serves.

    Attributes:
        kind: `upstream`, or what else offers slots.
        problem: Why it cannot be used; empty where it can.
    """

    name: str
    url: str = ""
    kind: str = "upstream"
    problem: str = ""
    models: tuple[RemoteReplicaReport, ...] = ()


class UpstreamsReport(Struct, frozen=True):
    """Every server elsewhere, and every worker that is connected."""

    upstreams: tuple[UpstreamReport, ...] = ()


class TestedReport(Struct, frozen=True):
    """What a request of one token came to at an upstream, a node or a worker.

    Attributes:
        model: Of which model it was.
        status: HTTP status of the answer; 0 where there was none.
        seconds: Until the end of the answer.
        problem: Why it failed; empty where it did not.
    """

    __test__: ClassVar[bool] = False

    name: str
    model: str
    status: int = 0
    seconds: float = 0.0
    problem: str = ""

"""How do nodes, and the hubs of this machine, look on a terminal?"""

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relayd.daemon.nodereport import JoinedHubReport, NodeReport, NodesReport
from relayd.units import show_bytes, show_seconds

_STYLES = {"connected": "green", "ready": "green", "away": "red", "broken": "yellow", "drained": "yellow"}


def nodes_page(report: NodesReport, now: float) -> RenderableType:
    """Return nodes, what each serves, and the hubs of this machine; `now` is in seconds since 1970."""
    parts: list[RenderableType] = []
    if report.nodes:
        parts += [_nodes(report.nodes, now), *_reasons(report.nodes)]
    if any(node.replicas for node in report.nodes):
        parts += [Text(), _replicas(report.nodes)]
    if report.hubs:
        parts += [Text()] * bool(parts) + [_hubs(report.hubs, now)]
    if (bus := report.bus) is not None:
        shown = Text(bus.state, style=_STYLES.get(bus.state, "yellow"))
        parts += [Text()] * bool(parts) + [Text(f"bus {bus.url}: {bus.role} {bus.name}, ") + shown]
    return Group(*parts)


def _nodes(nodes: Iterable[NodeReport], now: float) -> Table:
    table = _table(("NODE", "STATE", "PROVIDER"), ("FOR", "REQUESTS", "ROUND TRIP", "MEMORY FREE"))
    for node in nodes:
        round_trip = f"{1000 * node.round_trip_seconds:.0f} ms" if node.round_trip_seconds else "-"
        free = ", ".join(
            f"{one.account} {show_bytes(max(0, one.free))} of {show_bytes(one.capacity)}"
            for one in node.accounts
        )
        table.add_row(
            Text(node.name),
            Text(node.state, style=_STYLES.get(node.state, "")),
            Text(node.provider or "-"),
            show_seconds(max(0.0, now - node.since)) if node.since else "-",
            str(node.streams),
            round_trip,
            Text(free or "-"),
        )
    return table


def _reasons(nodes: Iterable[NodeReport]) -> Iterator[Text]:
    for node in nodes:
        if node.reason:
            yield Text(f"{node.name}: {node.reason}", style="yellow")


def _replicas(nodes: Iterable[NodeReport]) -> Table:
    table = _table(("REPLICA", "STATE"), ("BUSY", "SLOTS"))
    table.add_column("WHY", overflow="fold")
    for one in (replica for node in nodes for replica in node.replicas):
        state = Text(one.state, style=_STYLES.get(one.state, ""))
        table.add_row(Text(one.name), state, str(one.running), str(one.slots), Text(one.reason))
    return table


def _hubs(hubs: Iterable[JoinedHubReport], now: float) -> Table:
    table = _table(("HUB", "KNOWN THERE AS", "STATE"), ("FOR",))
    for hub in hubs:
        since = show_seconds(max(0.0, now - hub.since)) if hub.since else "-"
        table.add_row(
            Text(hub.url), Text(hub.node or "-"), Text(hub.state, style=_STYLES.get(hub.state, "")), since
        )
    return table


def _table(words: Iterable[str], numbers: Iterable[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in words:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table

"""How does the memory ledger look in `relayd status`?"""

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from relayd.daemon.report import LedgerReport, LoadReport, MemoryWaitReport, ModelReport
from relayd.units import show_bytes, show_seconds

_SHOWN_LOADS = 4


def ledger_table(ledger: LedgerReport) -> Table:
    """Return what models may take of each account, what they do (weights apart), and what is left."""
    table = Table(box=None, pad_edge=False)
    table.add_column("LEDGER", overflow="fold")
    for heading in ("CAPACITY", "PLANNED", "WEIGHTS", "MEASURED", "OTHERS", "FREE"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("IN USE", no_wrap=True)
    for row in ledger.accounts:
        weights = show_bytes(row.weights) if row.account == "host" else "-"
        rest = map(show_bytes, (row.measured, row.others, row.free))
        used = memory_bar(row.capacity - row.free, row.capacity)
        table.add_row(row.account, show_bytes(row.capacity), show_bytes(row.planned), weights, *rest, used)
    return table


def memory_bar(used: int, capacity: int, cells: int = 8) -> str:
    """Return how much of a memory is in use as a bar."""
    share = min(1.0, max(0.0, used / capacity)) if capacity > 0 else 0.0
    filled = round(share * cells)
    return "█" * filled + "░" * (cells - filled)


def ledger_notes(ledger: LedgerReport, models: Sequence[ModelReport], now: float) -> Iterator[Text]:
    """Yield who waits for memory and for whom, what leaves, the last loads, and evictions by cause."""
    for one in ledger.waiting:
        age = show_seconds(max(0.0, now - one.since))
        waits = f"{one.replica} has waited {age} for {_sizes(one.needs)}"
        yield Text(f"{waits}{_before(one, models)}", style="yellow")
    for replica, cause in ledger.leaving.items():
        yield Text(f"{replica} leaves memory ({cause.replace('_', ' ')}) when its requests have ended")
    if ledger.loads:
        yield Text(f"last loads: {'; '.join(map(_load, ledger.loads[:_SHOWN_LOADS]))}")
    if ledger.evictions:
        counts = (f"{cause.replace('_', ' ')} {count}" for cause, count in ledger.evictions.items())
        yield Text(f"unloaded since the daemon started: {', '.join(counts)}")


def _before(one: MemoryWaitReport, models: Sequence[ModelReport]) -> str:
    """Return for whom a replica waits, or why no other makes room for it."""
    if one.waits_for:
        return f", for {', '.join(one.waits_for)} to make room"
    if not one.wanted:
        is_served = any(model.name == one.model and _in_memory(model) for model in models)
        asked = "others make room once a request or `relayd load` asks for it"
        return "; no other model makes room for one more replica" if is_served else f"; {asked}"
    pinned = [name for model in models if model.pinned for name in _in_memory(model)]
    held = f"{', '.join(pinned)} {'is' if len(pinned) == 1 else 'are'} pinned" if pinned else "all is in use"
    return f"; nothing makes room: {held}"


def _in_memory(model: ModelReport) -> list[str]:
    return [replica.name for replica in model.replicas if replica.pid is not None]


def _load(load: LoadReport) -> str:
    took = f"{load.replica} {'failed after' if load.failure else 'in'} {show_seconds(load.seconds)}"
    return took + (f" (waited {show_seconds(load.waited_seconds)})" if load.waited_seconds >= 0.1 else "")


def _sizes(needs: Mapping[str, int]) -> str:
    return " and ".join(f"{show_bytes(size)} of {account}" for account, size in needs.items()) or "memory"

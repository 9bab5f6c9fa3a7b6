"""How do batches look on a terminal?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from relayd.ui.columns import kept
from relayd.units import show_seconds

_CELLS = 20
_SHORT_ID = 16
_COLUMNS = ("BATCH", "NAME", "STATE", "DONE", "FAILED", "AGE", "LEFT", "MODEL")
_HOUR_SECONDS = 3600.0
_STYLES = {
    "completed": "green",
    "failed": "red",
    "expired": "red",
    "cancelled": "dim",
    "cancelling": "yellow",
}
_FOLDER_SHOWN = ("provider", "provider_job_id", "submitted_at", "description")


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch, as commands show it.

    Attributes:
        id: The server's.
        name: What its owner calls it; "" for nothing.
        status: Its state.
        total: Its lines.
        completed: Those with an answer.
        failed: Those that ended without one.
        created: When it was made, in seconds since 1970.
        ended: When it ended; None while it has not.
        expires: When it ends at the latest; None where that is not known.
        model: What it is for; "" for several, or where that is not known.
        endpoint: Where its lines go.
        tokens_in: Tokens of prompts.
        tokens_cached: Those of them that were in a cache.
        tokens_out: Tokens of answers.
        lines_per_second: How fast it is now.
        tokens_per_second: Tokens of answers a second, now.
        seconds_left: How long it will take; None where that is not known.
        slot_seconds: How long its lines had slots, all together.
        paused: Why no line is begun; "" while lines are.
        faults: Why it was refused, with the numbers of lines.
        notes: What else there is to know, by name.
    """

    id: str
    name: str
    status: str
    total: int
    completed: int
    failed: int
    created: float
    ended: float | None = None
    expires: float | None = None
    model: str = ""
    endpoint: str = ""
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    lines_per_second: float = 0.0
    tokens_per_second: float = 0.0
    seconds_left: float | None = None
    slot_seconds: float = 0.0
    paused: str = ""
    faults: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def done(self) -> int:
        """Lines that are over, however they ended."""
        return self.completed + self.failed

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in {"completed", "failed", "expired", "cancelled"}


def batch_row(batch: Mapping[str, Any]) -> BatchRow:
    """Return a batch of `/v1/batches`; what relayd alone reports is left out where another server answers."""
    counts, usage, own = (batch.get(name) or {} for name in ("request_counts", "usage", "relayd"))
    metadata = {str(name): str(text) for name, text in (batch.get("metadata") or {}).items()}
    ends = ("completed_at", "failed_at", "expired_at", "cancelled_at")
    models = own.get("models") or ()
    return BatchRow(
        id=str(batch.get("id") or ""),
        name=metadata.pop("job_id", ""),
        status=str(batch.get("status") or "unknown"),
        total=counts.get("total") or 0,
        completed=counts.get("completed") or 0,
        failed=counts.get("failed") or 0,
        created=batch.get("created_at") or 0.0,
        ended=next((batch[name] for name in ends if batch.get(name)), None),
        expires=batch.get("expires_at"),
        model=batch.get("model") or ", ".join(models),
        endpoint=batch.get("endpoint") or "",
        tokens_in=usage.get("input_tokens") or 0,
        tokens_cached=(usage.get("input_tokens_details") or {}).get("cached_tokens") or 0,
        tokens_out=usage.get("output_tokens") or 0,
        lines_per_second=own.get("lines_per_second") or 0.0,
        tokens_per_second=own.get("tokens_per_second") or 0.0,
        seconds_left=own.get("seconds_left"),
        slot_seconds=own.get("slot_seconds") or 0.0,
        paused=own.get("paused") or "",
        faults=tuple(map(_fault, (batch.get("errors") or {}).get("data") or ())),
        notes=tuple(metadata.items()),
    )


def folder_row(job: Mapping[str, Any], status: str) -> BatchRow:
    """Return a job of a Relay workspace.

    Args:
        job: As its file has it.
        status: Its state, in the words of every provider.
    """
    try:
        created = datetime.fromisoformat(str(job.get("submitted_at"))).timestamp()
    except ValueError:
        created = 0.0
    notes = [(name, str(job[name])) for name in _FOLDER_SHOWN if job.get(name)]
    notes.append(("results", "in the folder" if job.get("has_results") else "not fetched"))
    return BatchRow(
        id=str(job.get("job_id")),
        name="",
        status=status,
        total=job.get("n_requests") or 0,
        completed=job.get("completed_requests") or 0,
        failed=job.get("failed_requests") or 0,
        created=created,
        notes=tuple(notes),
    )


def batches_table(rows: Sequence[BatchRow], now: float, width: int) -> Table:
    """Return a line for each batch, at a moment in seconds since 1970.

    A narrow terminal has the beginnings of ids, which commands take too, and fewer columns.
    """
    cells = [_cells(row, now) for row in rows]
    columns = [name for name in _COLUMNS if any(one[name] not in ("", "-") for one in cells)]
    wide = kept(columns, cells, width, ("MODEL",))
    if kept(wide, cells, width, ("BATCH",)) != wide:
        cells = [{**one, "BATCH": one["BATCH"][:_SHORT_ID]} for one in cells]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    shown = kept(columns, cells, width, ("MODEL", "AGE", "LEFT"))
    for name in shown:
        right = name in ("DONE", "FAILED", "AGE", "LEFT")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "NAME", overflow="fold")
    for row, one in zip(rows, cells, strict=True):
        style = _STYLES.get(row.status, "")
        table.add_row(*(Text(one[name], style=style if name == "STATE" else "") for name in shown))
    return table


def _cells(row: BatchRow, now: float) -> dict[str, str]:
    left = "-" if row.is_over or row.seconds_left is None else show_seconds(row.seconds_left)
    return {
        "BATCH": row.id,
        "NAME": row.name or "-",
        "STATE": "paused" if row.paused else row.status,
        "DONE": f"{row.completed:,} of {row.total:,}",
        "FAILED": f"{row.failed:,}" if row.failed else "-",
        "AGE": _age(now - row.created) if row.created else "-",
        "LEFT": left,
        "MODEL": row.model or "-",
    }


def batch_page(row: BatchRow, slots: int, now: float) -> Table:
    """Return all that is known of a batch.

    Args:
        row: The batch.
        slots: Of one replica of its model; 0 where that is not known.
        now: Seconds since 1970.
    """
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(row, slots, now):
        table.add_row(Text(name, style="bold"), Text(value))
    return table


def progress_text(row: BatchRow, slots: int, columns: int) -> str:
    """Return how far a batch is, in at most so many columns: what matters least is left out first.

    `first  ████░░░░  42 %  4,200 of 10,000, 3 failed  12.4/s  310 tokens/s  7 min 46 s left  0.31 GPU h`

    Args:
        row: The batch.
        slots: Of one replica of its model; 0 where that is not known.
        columns: Width of the terminal.
    """
    share = min(1.0, row.done / row.total) if row.total else 0.0
    cells = round(share * _CELLS)
    running = row.status == "in_progress"
    pieces = [
        (5, row.name or row.id),
        (4, f"{'█' * cells}{'░' * (_CELLS - cells)}"),
        (0, f"{share:4.0%}".replace("%", " %")),
        (1, f"{row.done:,} of {row.total:,}{f', {row.failed:,} failed' if row.failed else ''}"),
        (0, "" if running and not row.paused else f"paused: {row.paused}" if row.paused else row.status),
        (3, f"{row.lines_per_second:.1f}/s" if running and row.lines_per_second else ""),
        (3, f"{row.tokens_per_second:,.0f} tokens/s" if running and row.tokens_per_second else ""),
        (2, f"{show_seconds(row.seconds_left)} left" if running and row.seconds_left is not None else ""),
        (6, cost_text(row.slot_seconds, slots)),
    ]
    for least in (7, 6, 5, 4, 3, 2, 1):
        line = "  ".join(text for weight, text in pieces if text and weight < least)
        if len(line) <= columns:
            return line
    return line[:columns]


def cost_text(slot_seconds: float, slots: int) -> str:
    """Return what a batch has cost, in hours of a device, or of slots where a replica's are not known."""
    if not slot_seconds:
        return ""
    hours = slot_seconds / _HOUR_SECONDS / (slots or 1)
    return f"{hours:.{2 if hours >= 0.1 else 4}f} {'GPU h' if slots else 'slot h'}"


def _facts(row: BatchRow, slots: int, now: float) -> Iterator[tuple[str, str]]:
    yield "batch", row.id
    if row.name:
        yield "name", row.name
    yield "state", f"{row.status}{f' (paused: {row.paused})' if row.paused else ''}"
    yield (
        "lines",
        f"{row.completed:,} of {row.total:,} done{f', {row.failed:,} failed' if row.failed else ''}",
    )
    for name, value in (("model", row.model), ("endpoint", row.endpoint)):
        if value:
            yield name, value
    if row.tokens_in or row.tokens_out:
        cached = f" ({row.tokens_cached:,} cached)" if row.tokens_cached else ""
        yield "tokens", f"{row.tokens_in:,} in{cached}, {row.tokens_out:,} out"
    if not row.is_over and row.lines_per_second:
        yield "speed", f"{row.lines_per_second:.1f} lines/s, {row.tokens_per_second:,.0f} tokens/s"
    if not row.is_over and row.seconds_left is not None:
        yield "left", show_seconds(row.seconds_left)
    if cost := cost_text(row.slot_seconds, slots):
        yield "cost", cost
    if row.created:
        yield "made", f"{_moment(row.created)}, {_age(now - row.created)} ago"
    if row.ended:
        yield "ended", f"{_moment(row.ended)}, after {show_seconds(max(0.0, row.ended - row.created))}"
    elif row.expires:
        yield "expires", _moment(row.expires)
    for fault in row.faults:
        yield "refused", fault
    yield from row.notes


def _fault(fault: Mapping[str, Any]) -> str:
    line = f"line {fault['line']}: " if fault.get("line") is not None else ""
    return f"{line}{fault.get('message') or fault.get('code') or 'refused'}"


def _age(seconds: float) -> str:
    return show_seconds(max(0.0, seconds))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M")

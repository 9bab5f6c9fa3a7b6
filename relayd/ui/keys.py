"""How do API keys look on a terminal?"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import reduce

from rich.table import Table
from rich.text import Text

from relayd.daemon.keyreport import KeyReport, UsageReport
from relayd.rights import LATEST_MOMENT, KeyLimits, UsageRow
from relayd.units import show_seconds


def keys_table(keys: Sequence[KeyReport], now: float) -> Table:
    """Return a line for each key, at a moment in seconds since 1970."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("NAME", no_wrap=True)
    table.add_column("KEY", no_wrap=True)
    for heading in ("STATE", "SCOPES", "MODELS", "LIMITS", "LAST USED"):
        table.add_column(heading)
    for key in keys:
        used = "never" if key.last_used is None else f"{show_seconds(max(0.0, now - key.last_used))} ago"
        cells = (
            key.name,
            f"{key.hint}…",
            _state(key),
            " ".join(key.scopes),
            " ".join(key.models) or "all",
            " ".join((*shown_limits(key.limits), *map(str, key.quotas))),
            used,
        )
        table.add_row(*map(Text, cells), style="dim" if key.state != "active" else "")
    return table


def key_page(key: KeyReport) -> Table:
    """Return all that is known of a key."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in _facts(key):
        table.add_row(Text(name, style="bold"), Text(value))
    return table


def shown_limits(limits: KeyLimits) -> Iterator[str]:
    """Yield limits as they are typed."""
    for name in limits.__struct_fields__:
        if (value := getattr(limits, name)) is not None:
            yield f"{name}={value}"


def moment(seconds: float) -> str:
    """Return a moment as a person reads it, in UTC."""
    return datetime.fromtimestamp(min(seconds, LATEST_MOMENT), UTC).strftime("%Y-%m-%d %H:%M UTC")


def _state(key: KeyReport) -> str:
    if key.state == "active" and key.expires is not None:
        return f"until {moment(key.expires)[:10]}"
    return key.state


def _facts(key: KeyReport) -> Iterator[tuple[str, str]]:
    yield "name", key.name
    yield "id", key.id
    yield "key", f"{key.hint}…"
    yield "state", key.state
    yield "scopes", " ".join(key.scopes)
    yield "models", " ".join(key.models) or "all"
    yield "limits", " ".join(shown_limits(key.limits)) or "none"
    for quota in key.quotas:
        yield "quota", f"{quota}, {key.spent.get(str(quota), 0):,} used"
    yield "class", key.klass or "as requests ask"
    yield "retention", "as usual" if key.retain else "none"
    for name, at in (
        ("created", key.created),
        ("rotated", key.rotated),
        ("expires", key.expires),
        ("revoked", key.revoked),
        ("last used", key.last_used),
    ):
        if at is not None:
            yield name, moment(at)


def usage_table(report: UsageReport) -> Table:
    """Return a line for each day, key and model, and the sum of all."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("DAY", "KEY", "MODEL"):
        table.add_column(heading, no_wrap=True)
    for heading in ("REQUESTS", "TOKENS IN", "CACHED", "OUT", "TIME"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in report.rows:
        table.add_row(row.day, Text(report.names.get(row.key) or "-"), Text(row.model), *_sums(row))
    if len(report.rows) > 1:
        table.add_row("all", "", "", *_sums(reduce(UsageRow.plus, report.rows)), style="bold")
    return table


def _sums(row: UsageRow) -> tuple[str, ...]:
    counts = (row.requests, row.prompt_tokens, row.cached_tokens, row.completion_tokens)
    return (*(f"{count:,}" for count in counts), show_seconds(row.seconds))

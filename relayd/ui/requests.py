"""How does `relayd requests` look?"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relayd.daemon.adminreport import RequestReport
from relayd.daemon.livereport import FinishedReport, LiveReport
from relayd.ui.columns import GAP, kept
from relayd.units import show_seconds

_SHOWN = 20
_BAR = 40

_WIDE = 120
"""Columns from which a table has room for whole ids and for reasons."""

_SHORT = 10
_ALWAYS = frozenset({"queue", "prompt", "answer"})
"""Phases of a request that are shown also where they took no time."""

_NUMBERS = frozenset({"WAITED", "TOKENS", "AGE", "QUEUE", "FIRST", "TOTAL", "IN", "CACHED", "OUT"})
_NAMES, _PROSE = frozenset({"MODEL", "KEY"}), frozenset({"STATE", "HOW"})
_STYLES = {"cut": "red", "refused": "yellow", "cancelled": "dim", "waiting": "yellow"}


def requests_table(report: LiveReport, now: float, width: int) -> RenderableType:
    """Return what is open, and what has ended last.

    Args:
        report: Of the daemon.
        now: Wall-clock seconds.
        width: Columns.
    """
    parts: list[RenderableType] = []
    if report.requests:
        parts += [
            _open_table(sorted(report.requests.values(), key=lambda one: one.since), report, now, width)
        ]
    else:
        parts += [Text("No request is open.")]
    ended = [one for _, one in sorted(report.finished.items(), key=lambda one: -int(one[0]))][:_SHOWN]
    if ended:
        parts += [Text(), _ended_table(ended, report.keys, width)]
    return Group(*parts)


def _open_table(rows: Iterable[RequestReport], report: LiveReport, now: float, width: int) -> Table:
    shown = []
    for one in rows:
        waited = now - one.since if one.state == "waiting" else one.waited_seconds
        state = f"{one.state}: {one.reason}" if one.reason and width >= _WIDE else one.state
        if one.prompt_total:
            state = f"reads its prompt, {100 * one.prompt_done // one.prompt_total} %"
        row = {
            "OPEN": short_id(one.id, width), "MODEL": one.model,
            "KEY": report.keys.get(one.key, one.key) or "-", "STATE": state,
            "WAITED": show_seconds(max(0.0, waited)),
            "TOKENS": f"~{one.tokens}" if one.tokens else "-", "AGE": show_seconds(max(0.0, now - one.since)),
        }  # fmt: skip
        shown.append((row, {"STATE": _STYLES.get(one.state, "")}))
    return _table(shown, width, ("KEY", "WAITED", "TOKENS"))


def _ended_table(rows: Iterable[FinishedReport], keys: Mapping[str, str], width: int) -> Table:
    shown = []
    for one in rows:
        row = {
            "ENDED": short_id(one.id, width), "AT": _clock(one.at), "MODEL": one.model or "-",
            "KEY": keys.get(one.key, one.key) or "-", "QUEUE": _seconds(one.queue_seconds),
            "FIRST": _seconds(one.first_byte_seconds), "TOTAL": _seconds(one.seconds),
            "IN": str(one.prompt_tokens or "-"), "CACHED": str(one.cached_tokens or "-"),
            "OUT": str(one.completion_tokens or "-"), "HOW": _how(one),
        }  # fmt: skip
        shown.append((row, {"HOW": _STYLES.get(one.ended, "")}))
    return _table(shown, width, ("KEY", "CACHED", "AT", "QUEUE", "IN"))


def _table(
    rows: Sequence[tuple[Mapping[str, str], Mapping[str, str]]], width: int, dropped: Sequence[str]
) -> Table:
    """Return a table of rows, each with the styles of its cells; a narrow terminal has fewer columns."""
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    texts = [row for row, _ in rows]
    headings = kept([*texts[0]], texts, width, dropped)
    for heading in headings:
        table.add_column(
            heading,
            justify="right" if heading in _NUMBERS else "left",
            no_wrap=heading not in _PROSE,
            overflow="ellipsis" if heading in _NAMES else "fold",
        )
    for row, styles in rows:
        table.add_row(*(Text(row[heading], style=styles.get(heading, "")) for heading in headings))
    return table


def short_id(request: str, width: int) -> str:
    """Return as much of an id as a list has room for: `relayd requests` takes the beginning of one."""
    return request if width >= _WIDE else request[:_SHORT]


def _how(one: FinishedReport) -> str:
    if one.ended == "refused":
        return one.code or f"refused {one.status}"
    return f"{one.ended} {one.code}".strip()


def finished_line(one: FinishedReport, key: str) -> str:
    """Return one line about a request that has ended."""
    tokens = f"{one.prompt_tokens}+{one.completion_tokens} tokens, {one.cached_tokens} cached"
    pieces = [
        _clock(one.at),
        one.id,
        one.model or "-",
        key or "-",
        one.replica or "-",
        one.ended,
        one.code or str(one.status),
        f"queue {_seconds(one.queue_seconds)}",
        f"first {_seconds(one.first_byte_seconds)}",
        f"total {_seconds(one.seconds)}",
        tokens if one.prompt_tokens else "",
    ]
    return "  ".join(piece for piece in pieces if piece)


def request_page(
    request: str,
    open_ones: Iterable[Mapping[str, Any]],
    ended: Iterable[Mapping[str, Any]],
    logged: Iterable[Mapping[str, Any]],
    lines: Iterable[str],
) -> RenderableType:
    """Return all that is known of a request.

    Args:
        request: Its id.
        open_ones: As it runs or waits now.
        ended: As it has ended, of the last ones.
        logged: Its lines of the request log.
        lines: Lines of the daemon's log that name it.
    """
    parts: list[RenderableType] = [Text(f"request {request}", style="bold")]
    for title, rows in (("open", open_ones), ("ended", ended), ("request log", logged)):
        for row in rows:
            parts += [Text(), Text(title, style="dim"), _pairs(row)]
            if title == "ended":
                parts.append(Text(_timeline(row)))
    shown = [Text(line, overflow="fold") for line in lines]
    if shown:
        parts += [Text(), Text("log of the daemon", style="dim"), *shown]
    return Group(*parts)


def _pairs(row: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in row.items():
        if value not in ("", None, 0, 0.0, False):
            table.add_row(name.replace("_", " "), Text(str(value)))
    return table


def _timeline(row: Mapping[str, Any]) -> str:
    """Return where the time of a request went: queue, load, failed attempts, prompt, answer."""
    total = float(row.get("seconds") or 0.0)
    if total <= 0:
        return ""
    queue, load, retry = (float(row.get(f"{name}_seconds") or 0.0) for name in ("queue", "load", "retry"))
    first = float(row.get("first_byte_seconds") or total)
    phases = {
        "queue": queue - load - retry, "load": load, "retry": retry, "prompt": first - queue,
        "answer": total - first,
    }  # fmt: skip
    shown = {name: max(0.0, seconds) for name, seconds in phases.items()}
    bar = "".join(name[0] * round(_BAR * seconds / total) for name, seconds in shown.items())
    figures = ", ".join(
        f"{name} {seconds:.2f} s" for name, seconds in shown.items() if seconds or name in _ALWAYS
    )
    continued = f", continued {row['continued']} times" if row.get("continued") else ""
    return f"[{bar:<{_BAR}}] {figures}{continued}"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%H:%M:%S")


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else show_seconds(seconds) if seconds >= 1 else f"{1000 * seconds:.0f} ms"

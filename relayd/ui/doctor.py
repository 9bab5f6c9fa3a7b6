"""The findings of a check-up, as a page."""

from collections import Counter
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


def findings_page(findings: Iterable[tuple[str, str, str, str]]) -> RenderableType:
    """Return a line for each finding with its remedy below it, and at the end how many need one.

    Args:
        findings: Level, subject, what was found, and what helps.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    counts: Counter[str] = Counter()
    for level, subject, detail, remedy in findings:
        counts[level] += 1
        table.add_row(Text(level, style=_STYLES[level]), Text(subject), Text(detail))
        if remedy:
            table.add_row("", "", Text(remedy, style="bold"))
    return Group(table, Text(), Text(_summary(counts["problem"], counts["note"])))


def _summary(problems: int, notes: int) -> str:
    if not problems and not notes:
        return "Nothing is wrong."
    said = (_count(problems, "problem"), _count(notes, "note"))
    return " and ".join(filter(None, said)) + (
        "." if problems else "; nothing that keeps relayd from working."
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""

"""The findings of a check-up, as lines."""

from collections import Counter
from collections.abc import Iterable, Iterator

from rich.text import Text

from relayd.ui.paragraph import wrapped

_STYLES = {"ok": "green", "note": "yellow", "problem": "bold red", "fixed": "green"}

_LEAST_COLUMNS = 30
"""Words of a finding are not squeezed into less, however narrow the terminal is."""


def findings_lines(findings: Iterable[tuple[str, str, str, str]], width: int) -> Iterator[Text]:
    """Yield lines for each finding, its remedy below it, and at the end how many need one.

    Lines are broken between words, never inside a path or a command, which may be longer than the width.

    Args:
        findings: Level, subject, what was found, and what helps.
        width: Columns; 0 breaks no line.
    """
    rows = list(findings)
    level_columns = max((len(level) for level, *_ in rows), default=0)
    subject_columns = max((len(subject) for _, subject, *_ in rows), default=0)
    indent = level_columns + subject_columns + 4
    room = max(_LEAST_COLUMNS, width - indent) if width else 0
    counts: Counter[str] = Counter()
    for level, subject, detail, remedy in rows:
        counts[level] += 1
        for number, line in enumerate(wrapped(detail, room)):
            shown = Text(" " * indent)
            if number == 0:
                shown = Text.assemble(
                    (f"{level:<{level_columns}}", _STYLES[level]), f"  {subject:<{subject_columns}}  "
                )
            yield shown + Text(line)
        for line in wrapped(remedy, room):
            yield Text(" " * indent) + Text(line, style="bold")
    yield Text()
    yield Text(_summary(counts))


def _summary(counts: Counter[str]) -> str:
    problems, notes, fixed = counts["problem"], counts["note"], counts["fixed"]
    mended = f"{_count(fixed, 'finding')} fixed. " if fixed else ""
    if not problems and not notes:
        return f"{mended}Nothing is wrong."
    said = (_count(problems, "problem"), _count(notes, "note"))
    end = "." if problems else "; nothing that keeps relayd from working."
    return mended + " and ".join(filter(None, said)) + end


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""

"""What was measured: rows, kept as JSON, and the tables made of them."""

import json
import math
import os
import platform
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.scenarios import SCENARIOS

_MARKED = r"(<!-- bench: begin -->\n).*?(<!-- bench: end -->)"

BASE = "nginx"
"""The router that others are compared with."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one router in one round.

    Attributes:
        peer: Which router.
        subject: What was measured: a scenario, or one of `FIGURES`.
        value: The figure; the CPU microseconds of the router's own process for a request or a chunk, unless
            the subject says otherwise.
        seen: What the clients measured.
    """

    peer: str
    subject: str
    value: float
    seen: dict[str, float]


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the second table.

    Attributes:
        title: How it is called.
        unit: Of the value.
        bar: What relayd's figure may be at most; None where it stands for comparison only.
        times_base: The bar is in figures of nginx.
    """

    title: str
    unit: str
    bar: float | None = None
    times_base: bool = False


COST_BARS = {"requests": 3.0, "prompts": 2.5, "chunks": 1.35}
"""Scenario -> what relayd may cost at most, in figures of nginx."""

FIGURES = {
    "first_byte": Figure("added time to the first byte, p50, 1 connection", "ms", 0.1),
    "chunk_delay": Figure("delay of a chunk, p99, 1,000 paced streams", "ms", 3.0, times_base=True),
    "stream_kb": Figure("memory of an open stream, of 1,000", "kB", 20.0),
    "idle_kb": Figure("memory of an idle connection, of 1,000", "kB", 4.0),
    "unread_mib": Figure("memory held for a client that reads nothing", "MiB", 1.0),
    "unread_slows": Figure("requests of others beside it, p50, times that without", "x"),
    "bodies_ms": Figure("longest wait of a small request beside bodies of 1 to 15 MiB", "ms"),
    "listening_ms": Figure("start to listening", "ms", 300.0),
    "answering_ms": Figure("start to the first answer", "ms"),
    "idle_mb": Figure("memory when idle (RSS)", "MB", 60.0),
    "help_ms": Figure("`relayd --help`", "ms", 100.0),
    "status_ms": Figure("`relayd status`", "ms", 200.0),
    "recommend_s": Figure("`relayd recommend`, warm, CPU", "s", 0.7),
}


def store(rows: Iterable[Row], path: Path) -> None:
    """Write rows as JSON."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1), "utf-8")


def load(path: Path) -> list[Row]:
    """Read rows that were stored."""
    return [Row(**each) for each in json.loads(path.read_text("utf-8"))]


def tables(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the README's text: costs beside nginx, then what else has a bar; medians of all rounds."""
    names = list(dict.fromkeys(row.peer for row in rows))
    costs = [name for name in SCENARIOS if any(row.subject == name for row in rows)]
    if costs:
        yield from _markdown(["CPU of the router's own process", *names], _costs(rows, names, costs))
        yield ""
    figures = [name for name in FIGURES if any(row.subject == name for row in rows)]
    if figures:
        yield from _markdown(["", *names, "at most"], _figures(rows, names, figures))
        yield ""
    errors = sum(row.seen.get("errors", 0) for row in rows)
    yield f"{_machine()}; median of {_rounds(rows)}, failed requests: {errors:.0f}."


def with_tables(text: str, rows: Sequence[Row]) -> str:
    """Return a README with the tables between its marks for them."""
    body = "\n".join(tables(rows))
    return re.sub(_MARKED, lambda found: f"{found[1]}{body}\n{found[2]}", text, flags=re.DOTALL)


def median(rows: Iterable[Row], peer: str, subject: str) -> float:
    """Return the median of one router's figure; NaN where it was not measured."""
    values = [row.value for row in rows if (row.peer, row.subject) == (peer, subject)]
    return statistics.median(values) if values else math.nan


def _costs(rows: Sequence[Row], names: list[str], subjects: list[str]) -> Iterator[list[str]]:
    for subject in subjects:
        base = median(rows, BASE, subject)
        cells = [_cost(median(rows, name, subject), base, is_base=name == BASE) for name in names]
        yield [SCENARIOS[subject].title, *cells]


def _cost(value: float, base: float, *, is_base: bool) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.1f} µs" if is_base or math.isnan(base) else f"{value / base:.2f} x"


def _figures(rows: Sequence[Row], names: list[str], subjects: list[str]) -> Iterator[list[str]]:
    for subject in subjects:
        figure = FIGURES[subject]
        values = [median(rows, name, subject) for name in names]
        cells = ["" if math.isnan(value) else _shown(value, figure) for value in values]
        yield [figure.title, *cells, _bar(figure)]


def _shown(value: float, figure: Figure) -> str:
    return f"{value:,.0f} {figure.unit}" if value >= 100 else f"{value:.3g} {figure.unit}"


def _bar(figure: Figure) -> str:
    if figure.bar is None:
        return ""
    return f"{figure.bar:g} x {BASE}" if figure.times_base else f"{figure.bar:g} {figure.unit}"


def _markdown(head: list[str], lines: Iterable[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(line)} |" for line in lines)


def missed(rows: Sequence[Row], peer: str = "relayd") -> Iterator[str]:
    """Yield the bars that a router does not keep."""
    for subject, most in COST_BARS.items():
        ratio = median(rows, peer, subject) / median(rows, BASE, subject)
        if ratio > most:
            yield f"{SCENARIOS[subject].title}: {ratio:.2f} x {BASE}, at most {most:g}"
    for subject, figure in FIGURES.items():
        value, base = median(rows, peer, subject), median(rows, BASE, subject)
        if figure.bar is not None and value > figure.bar * (base if figure.times_base else 1):
            yield f"{figure.title}: {_shown(value, figure)}, at most {_bar(figure)}"


def _rounds(rows: Sequence[Row]) -> str:
    counts = [sum((each.peer, each.subject) == (row.peer, row.subject) for each in rows) for row in rows]
    return f"{max(counts, default=0)} rounds"


def _machine() -> str:
    return f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}"

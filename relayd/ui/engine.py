"""Installed engines as a table, and the progress of an install."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from relayd.units import show_bytes

_LINE_SECONDS = 10.0
_LINE_SHARE = 0.1

_SOURCES = {"release": "official release", "build": "compiled here"}


@dataclass(frozen=True, slots=True)
class EngineRow:
    """An installed engine, as the table shows it."""

    id: str
    source: str
    size_bytes: int
    current: bool
    backend: str = ""
    installed_at: float = 0.0


def engines_table(engines: Iterable[EngineRow]) -> Table:
    """Return the installed engines, the current one marked; an id names version, backend and CPU."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "ENGINE", "BACKEND", "INSTALLED", "SOURCE"):
        table.add_column(column, overflow="fold")
    table.add_column("SIZE", justify="right")
    for engine in engines:
        mark = "current" if engine.current else ""
        day = datetime.fromtimestamp(engine.installed_at, UTC).astimezone().date().isoformat()
        installed = day if engine.installed_at else ""
        cells = (mark, engine.id, engine.backend, installed, _SOURCES[engine.source])
        table.add_row(*map(Text, cells), Text(show_bytes(engine.size_bytes)))
    return table


@contextlib.contextmanager
def shown_progress(
    console: Console, monotonic: Callable[[], float]
) -> "Iterator[LineProgress | BarProgress]":
    """Lend a progress: a bar on a terminal, elsewhere a line every 10 s or each 10 %."""
    if not console.is_terminal:
        yield LineProgress(console, monotonic)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, transient=True) as bars:
        yield BarProgress(bars)


class LineProgress:
    """Prints plain lines, few enough for a log."""

    def __init__(self, console: Console, monotonic: Callable[[], float]) -> None:
        self._console = console
        self._monotonic = monotonic
        self._label = ""
        self._share = 0.0
        self._printed_at = 0.0

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(Text(text), soft_wrap=True)

    def at(self, label: str, share: float | None) -> None:
        """Print a line if the last one is old, or far behind."""
        now, reached = self._monotonic(), share or 0.0
        late = now - self._printed_at >= _LINE_SECONDS
        further = reached - self._share >= _LINE_SHARE
        if label == self._label and not late and not further:
            return
        self._label, self._share, self._printed_at = label, reached, now
        self.say(label if share is None else f"{label}: {share:.0%}")


class BarProgress:
    """Moves a bar for the work under way; lines appear above it."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._label = ""

    def say(self, text: str) -> None:
        """Print one line above the bar."""
        self._bars.console.print(Text(text), soft_wrap=True)

    def at(self, label: str, share: float | None) -> None:
        """Move the bar; a new label begins a new one."""
        if self._task is None or label != self._label:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._task, self._label = self._bars.add_task(Text(label).markup, total=None), label
        if share is not None:
            self._bars.update(self._task, total=1.0, completed=share)

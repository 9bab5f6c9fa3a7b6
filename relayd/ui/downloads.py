"""The progress of a download: bars on a terminal, lines elsewhere."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from relayd.units import show_bytes, show_seconds

LINE_SECONDS = 5.0
"""How often a line is printed where there is no terminal."""

BAR_COLUMNS = 90
"""Narrower terminals show the figures of a download without a bar."""

FIGURES_COLUMNS = 70
"""Narrower ones show how much has arrived, and nothing of the time."""


class Pace:
    """How fast bytes come, and how long the rest takes.

    Args:
        now: Monotonic seconds.
        done: Bytes that were here at the beginning: they cost no time now.
    """

    def __init__(self, now: float, done: int) -> None:
        self._began, self._before = now, done

    def line(self, now: float, done: int, total: int | None) -> str:
        """Return `1.2 GiB of 4.7 GiB (25%), 85 MiB/s, 42 s left`."""
        passed, arrived = now - self._began, done - self._before
        rate = arrived / passed if passed > 0 else 0.0
        share = self.share(done, total)
        speed = f"{show_bytes(int(rate))}/s" if rate else ""
        left = f"{show_seconds((total - done) / rate)} left" if rate and total and done < total else ""
        return ", ".join(filter(None, (share, speed, left)))

    @staticmethod
    def share(done: int, total: int | None) -> str:
        """Return `1.2 GiB of 4.7 GiB (25%)`."""
        return (
            f"{show_bytes(done)} of {show_bytes(total)} ({done / total:.0%})" if total else show_bytes(done)
        )


@contextlib.contextmanager
def shown_pull(console: Console, monotonic: Callable[[], float]) -> "Iterator[PullLines | PullBars]":
    """Lend a progress: bars on a terminal, elsewhere a line every few seconds."""
    if not console.is_terminal:
        yield PullLines(console, monotonic)
        return
    name = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1))
    figures = TextColumn("{task.fields[figures]}", table_column=Column(no_wrap=True, justify="right"))
    bar = (BarColumn(bar_width=20),) if console.width >= BAR_COLUMNS else ()
    with Bars(name, *bar, figures, console=console, transient=True, expand=True) as bars:
        yield PullBars(bars, monotonic)


class PullLines:
    """Prints plain lines, few enough for a log."""

    def __init__(self, console: Console, monotonic: Callable[[], float]) -> None:
        self._console = console
        self._monotonic = monotonic
        self._name = ""
        self._pace = Pace(0.0, 0)
        self._printed_at = 0.0

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(Text(text), soft_wrap=True)

    def at(self, name: str, done: int, total: int | None) -> None:
        """Print a line if the last one is old, or the file is whole."""
        now = self._monotonic()
        if name != self._name:
            self._name, self._pace, self._printed_at = name, Pace(now, done), now
        if now - self._printed_at >= LINE_SECONDS or done == total:
            self._printed_at = now
            self.say(f"{name}: {self._pace.line(now, done, total)}")


class PullBars:
    """Moves a bar for each file; lines appear above them."""

    def __init__(self, bars: Bars, monotonic: Callable[[], float]) -> None:
        self._bars = bars
        self._monotonic = monotonic
        self._tasks: dict[str, tuple[TaskID, Pace]] = {}

    def say(self, text: str) -> None:
        """Print one line above the bars."""
        self._bars.console.print(Text(text), soft_wrap=True)

    def at(self, name: str, done: int, total: int | None) -> None:
        """Move the bar of a file."""
        now = self._monotonic()
        if name not in self._tasks:
            # Begins where the last attempt stopped: what was here before is not part of the rate.
            task = self._bars.add_task(Text(name).markup, total=total, completed=done, figures="")
            self._tasks[name] = task, Pace(now, done)
        task, pace = self._tasks[name]
        wide = self._bars.console.width >= FIGURES_COLUMNS
        figures = pace.line(now, done, total) if wide else pace.share(done, total)
        self._bars.update(task, completed=done, total=total, figures=figures)

"""Progress of a process: the figures that change while it works or loads."""

import operator
from pathlib import Path

import psutil


def cpu_seconds(pid: int) -> float:
    """Return the CPU time a process has used; 0 when it is gone."""
    try:
        times = psutil.Process(pid).cpu_times()
    except (psutil.Error, OSError):
        return 0.0
    return times.user + times.system


def progress(pid: int, log: Path) -> tuple[int, ...]:
    """Return figures that change while a model loads: resident memory, bytes read, log length.

    Equal tuples at two moments mean that nothing moved between them. Empty when the
    process is gone.
    """
    try:
        process = psutil.Process(pid)
        figures = [process.memory_info().rss]
        if hasattr(process, "io_counters"):  # not on macOS
            figures.append(process.io_counters().read_chars)
        figures.append(log.stat().st_size if log.exists() else 0)
    except (psutil.Error, OSError):
        return ()
    return tuple(figures)


def has_moved(best: tuple[int, ...], figures: tuple[int, ...]) -> bool:
    """Return whether a figure is higher than ever: the resident memory of a hung process falls by itself."""
    return any(map(operator.gt, figures, best)) or (bool(figures) and not best)

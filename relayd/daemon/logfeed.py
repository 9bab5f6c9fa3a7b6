"""How are the lines of a log read, and followed, for one who is not on this machine?"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from heapq import merge
from pathlib import Path

from relayd.daemon.adminreport import LogLineReport
from relayd.errors import NotFoundError
from relayd.printable import printable
from relayd.supervisor.logs import LogReader, replica_of

_LOOK_SECONDS = 0.5
DAEMON = "relayd"


def logs_of(folder: Path, target: str | None) -> dict[str, Path]:
    """Return the logs that a target means, by replica. Blocks.

    Args:
        folder: Of all logs.
        target: A model or a replica; None for the daemon.

    Raises:
        NotFoundError: There is none.
    """
    known = {replica_of(path): path for path in sorted(folder.glob("*.log"))}
    wanted = target or DAEMON
    found = {name: path for name, path in known.items() if wanted in (name, name.rpartition("#")[0])}
    if not found:
        raise NotFoundError(
            f"There is no log of {wanted[:100]!r}.", remedy=f"There are logs of {', '.join(known) or 'none'}."
        )
    return found


async def lines(logs: dict[str, Path], most: int, *, follow: bool) -> AsyncGenerator[LogLineReport]:
    """Yield the last lines of logs, in the order of time; then what is written next, if that is wanted."""
    readers = {name: LogReader(path, most) for name, path in logs.items()}
    for line in await asyncio.to_thread(_last, readers, most):
        yield line
    while follow:
        await asyncio.sleep(_LOOK_SECONDS)
        for line in await asyncio.to_thread(_next, readers):
            yield line


def _last(readers: dict[str, LogReader], most: int) -> list[LogLineReport]:
    every = (deque(_read(name, reader), most) for name, reader in readers.items())
    return [*deque(merge(*every, key=lambda line: line.time or 0.0), most)]


def _next(readers: dict[str, LogReader]) -> list[LogLineReport]:
    return [line for name, reader in readers.items() for line in _read(name, reader)]


def _read(name: str, reader: LogReader) -> list[LogLineReport]:
    return [LogLineReport(name, line.time, printable(line.text)) for line in reader.read()]

"""relayd logs: logs of replicas and of the daemon."""

import contextlib
import heapq
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

from relayd.cli.support import completion
from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import print_event
from relayd.clock import SystemClock
from relayd.errors import ModelNotFoundError, UsageError
from relayd.folders import own_paths
from relayd.printable import printable
from relayd.supervisor.logs import (
    Line,
    LogReader,
    is_own_probe,
    replica_of,
    show_local,
    show_time,
    without_time,
)

_FOLLOW_SECONDS = 0.2
_LINES = 50
_LINES_BEFORE_MORE = 10
_REQUESTS = "requests.jsonl"
_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhdw])(?: ago)?")
_DAYS_AGO = {"today": 0, "yesterday": 1}
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def logs(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL[#N]",
            help="A model or one replica; without it, the daemon.",
            autocompletion=completion.targets,
        ),
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--lines",
            min=0,
            help="How many of the last lines.  [default: 50; 10 with -f; all with --since]",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Show new lines as they are written.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN", help="Only lines from then on: 10m, 2h (ago), yesterday, or 2026-11-20T09:00."
        ),
    ] = None,
    grep: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Only lines that a regular expression finds.")
    ] = None,
    requests: Annotated[
        bool, typer.Option("--requests", help="The request log, a JSON object a request.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Show lines as they were written, control characters too.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object a line: replica, time, line.")
    ] = False,
) -> None:
    """Show the logs of replicas or of the daemon.

    Every line begins with its time, in local time. Rotated logs are read too, and no daemon is needed.
    """
    if target and "@" in target:
        _of_node(target, lines, as_json=as_json)
        return
    if requests and target:
        raise UsageError(f"--requests and {target!r} exclude each other", remedy="Find a model with --grep.")
    wanted = _filter(since, grep, raw=raw)
    most = lines if lines is not None or since is not None else _LINES_BEFORE_MORE if follow else _LINES
    readers = {
        file: LogReader(file, most if since is None and grep is None else None)
        for file in _files(_REQUESTS if requests else target)
    }
    printer = _printer(raw=raw, as_json=as_json)
    for file, line in _last(readers, wanted, most, unfinished=not follow):
        printer.show(file, line, several=len(readers) > 1)
    if follow:
        _follow(target, readers, wanted, printer)


def _printer(*, raw: bool, as_json: bool) -> "_Printer":
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # whatever an engine writes, in whatever locale
    return _Printer(raw=raw, safe=sys.stdout.isatty(), as_json=as_json)


def _of_node(target: str, lines: int | None, *, as_json: bool) -> None:
    """Print the last lines of the logs of a node's model or replica, `MODEL@NODE`."""
    for line in daemon_client().node_logs(target, _LINES if lines is None else lines).lines:
        if as_json:
            print_event({"replica": line.replica, "time": line.time, "line": line.line})
        else:
            moment = show_time(line.time) if line.time is not None else ""
            print(f"{moment} {line.replica}  {line.line}".strip())


def _filter(since: str | None, grep: str | None, *, raw: bool) -> Callable[[Line], bool]:
    """Return whether a line is wanted.

    Raises:
        UsageError: The time or the pattern is invalid.
    """
    start = None if since is None else _moment(since)
    try:
        pattern = re.compile(grep or "")
    except re.error as error:
        raise UsageError(f"--grep {grep!r} is not a valid regular expression: {error}") from error

    def wanted(line: Line) -> bool:
        recent = start is None or (line.time is not None and line.time >= start)
        return recent and (raw or not is_own_probe(line.text)) and pattern.search(line.text) is not None

    return wanted


def _moment(text: str) -> float:
    """Return a moment in seconds since 1970; without a zone it is local time."""
    now = SystemClock().wall()
    if ago := _AGO.fullmatch(text.strip()):
        return now - float(ago[1]) * _UNIT_SECONDS[ago[2]]
    if (day := text.strip().casefold()) in _DAYS_AGO:
        begun = datetime.fromtimestamp(now).astimezone() - timedelta(
            days=_DAYS_AGO[day]
        )  # a day may have 23 h
        return begun.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None).timestamp()
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--since {text!r} is not a valid time",
            remedy="Write 10m, 2h or 1d (ago), today, yesterday, or 2026-11-20T09:00:00Z.",
        ) from error


def _files(target: str | None) -> list[Path]:
    """Return the logs a target names; the demo's when there is no other.

    Raises:
        ModelNotFoundError: There is none.
    """
    known: set[str] = set()
    for folder in (own_paths(demo=demo).state / "logs" for demo in (False, True)):
        files = {replica_of(file): file for file in sorted(folder.glob("*.log"))}
        if target == _REQUESTS and (file := folder / _REQUESTS).exists():
            return [file]
        if found := [file for name, file in files.items() if (target or "relayd") in _names(name)]:
            return found
        known |= files.keys()
    if target == _REQUESTS:
        raise ModelNotFoundError(
            "there is no request log", remedy='Requests that fail are logged, all with logs.requests = "all".'
        )
    raise ModelNotFoundError(
        f"there is no log of {target or 'the daemon'}",
        remedy=f"There are logs of {', '.join(sorted(known))}."
        if known
        else "Start something: `relayd serve --demo`.",
    )


def _names(replica: str) -> tuple[str, ...]:
    model, number, _ = replica.rpartition("#")
    return (replica, model) if number else (replica,)


def _last(
    readers: dict[Path, LogReader],
    wanted: Callable[[Line], bool],
    most: int | None,
    *,
    unfinished: bool,
) -> Iterable[tuple[Path, Line]]:
    """Return the last wanted lines of all logs together, in the order of time."""

    def one(file: Path, reader: LogReader) -> Iterator[tuple[Path, Line]]:
        lines = filter(wanted, reader.read(last=unfinished))
        return ((file, line) for line in (lines if most is None else deque(lines, most)))

    streams = [one(file, reader) for file, reader in readers.items()]
    merged = heapq.merge(*streams, key=lambda pair: pair[1].time or 0.0)
    return merged if most is None else deque(merged, most)


@dataclass(frozen=True, slots=True)
class _Printer:
    """Shows lines with their times, as they were written, or as a JSON object each.

    Attributes:
        raw: As they were written.
        safe: Without control characters.
        as_json: As JSON.
    """

    raw: bool
    safe: bool
    as_json: bool

    def show(self, file: Path, line: Line, *, several: bool) -> None:
        """Print a line, and whose it is if there are several logs."""
        replica = replica_of(file)
        if self.as_json and file.name != _REQUESTS:
            time = {} if line.time is None else {"time": show_time(line.time)}
            print_event({"replica": replica, **time, "line": line.text})
            return
        text = line.text
        if not self.raw:
            if line.time is not None and file.name != _REQUESTS:
                text = f"{show_local(line.time)} {without_time(text)}"
            text = printable(text) if self.safe else text
        print(f"{replica}: {text}" if several else text)


def _follow(
    target: str | None,
    readers: dict[Path, LogReader],
    wanted: Callable[[Line], bool],
    printer: _Printer,
) -> None:
    """Show what is written until interrupted; replicas that come later join in."""
    never = Event()
    while True:
        sys.stdout.flush()
        never.wait(_FOLLOW_SECONDS)
        with contextlib.suppress(ModelNotFoundError):  # deleted; another may be written
            readers |= {file: LogReader(file) for file in _files(target) if file not in readers}
        for file, reader in readers.items():
            for line in filter(wanted, reader.read()):
                printer.show(file, line, several=len(readers) > 1)

"""Replica logs: opening, marking and reading them, with the time of each line.

The engine writes straight into a file opened for appending: no pipe that a dead or hung
daemon could break or block. Its lines carry the time since its start, so a line of ours gives
the time of that. Rotated files are `NAME.1` (the newest) and up.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from relayd.units import show_bytes

_BLOCK = 1 << 16
_MOST_LINE_BYTES = 1 << 16
_ANCHOR_BYTES = 64

_MARKER = re.compile(
    r"relayd: (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (\S+ incarnation \d+) (?:begins|goes on, part (\d+))"
)
_DAEMONS = re.compile(r"(?:\{\"time\":\")?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)[ \"]")
"""A line of the daemon's own log, or of its request log."""
_ENGINES = re.compile(r"(\d{1,9})\.(\d\d)\.(\d{3})\.(\d{3}) ")
"""Minutes, seconds, milliseconds and microseconds since the start (llama.cpp, common/log.cpp)."""


def log_path(folder: Path, model: str, index: int) -> Path:
    """Return the file of a replica's output: `MODEL.N.log`, with a namespace's slash as `%2F`."""
    return folder / f"{model.replace('/', '%2F')}.{index}.log"


def replica_of(path: Path) -> str:
    """Return whose output a file holds: `MODEL#N`, or `relayd` for the daemon's own."""
    return "#".join(path.name.removesuffix(".log").replace("%2F", "/").rsplit(".", 1))


def open_log(path: Path) -> int:
    """Open a log for a child to append to; the caller closes the descriptor.

    Raises:
        OSError: The file cannot be opened.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)


def mark(descriptor: int, replica: str, incarnation: int, wall_seconds: float) -> None:
    """Write into an open log that an incarnation begins; a full disk leaves it out."""
    text = f"relayd: {show_time(wall_seconds)} {replica} incarnation {incarnation} begins\n"
    with contextlib.suppress(OSError):
        size = os.fstat(descriptor).st_size
        broken = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, (b"\n" if broken else b"") + text.encode())


def next_part(line: str) -> str | None:
    """Return what a new file begins with after a line that marks the begin of an incarnation.

    None for every other line. Each file begins differently, so that a reader knows them apart.
    """
    found = _MARKER.fullmatch(line.rstrip("\n"))
    return f"relayd: {found[1]} {found[2]} goes on, part {int(found[3] or 1) + 1}\n" if found else None


def show_time(wall_seconds: float) -> str:
    """Return a moment as logs write it: `2026-11-20T09:00:00.000Z`."""
    return datetime.fromtimestamp(wall_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def show_local(wall_seconds: float) -> str:
    """Return a moment as people read it, in local time: `2026-11-20T10:00:00.000+01:00`."""
    return datetime.fromtimestamp(wall_seconds, UTC).astimezone().isoformat(timespec="milliseconds")


def without_time(text: str) -> str:
    """Return a line of the daemon or of llama-server without the time that it begins with."""
    if found := _MARKER.fullmatch(text):
        return text.replace(f"{found[1]} ", "", 1)
    if text.startswith("{"):
        return text
    return text[found.end() :] if (found := _ENGINES.match(text) or _DAEMONS.match(text)) else text


def is_own_probe(text: str) -> bool:
    """Return whether llama-server logs that relayd asked it without a key, to see that it wants one."""
    return _OWN_PROBE.search(text) is not None


def since(path: Path, offset: int, *, most_bytes: int = 1 << 16) -> str:
    """Return what was written after `offset`, its last `most_bytes` at most; empty if it cannot be read.

    What the engine repeats of a request that it refused is left out: it is a client's text, and reads as
    whatever the client wants.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(offset if offset <= size else 0, size - most_bytes))
            return _REQUEST.sub(r"\1…", file.read(most_bytes).decode("utf-8", "replace"))
    except OSError:
        return ""


_OWN_PROBE = re.compile(r"\boperator\(\): unauthorized: Invalid API Key$")
"""`middleware_validate_api_key` in tools/server/server-http.cpp; `Probe.identity` asks so."""

_REQUEST = re.compile(r'(got exception: )\{"error".*')
"""How llama-server logs a request that it could not read (`ex_wrapper` in tools/server/server.cpp)."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log.

    Attributes:
        time: When it was written, in seconds since 1970; None if unknown. A line that
            carries no time has that of the line before it.
        text: Without its end; what exceeds 64 KiB is left out, and counted at the end.
    """

    time: float | None
    text: str


class LogReader:
    """Reads a log from where it last stood, across rotation, deletion and replacement.

    Memory stays bounded whatever the file holds.

    Args:
        path: The file that is written now.
        lines: How many of the last lines are wanted at first; older files without any of them are
            not read. None wants all.
    """

    def __init__(self, path: Path, lines: int | None = None) -> None:
        self._path = path
        self._wanted = lines
        self._began = False
        self._offset = 0
        self._anchor = b""
        self._rest = bytearray()
        self._left_out = 0
        self._clock = _LineClock()

    def read(self, *, last: bool = False) -> Iterator[Line]:
        """Yield what was written since the last call, first of all what is there.

        Args:
            last: Whether a line that is not finished is yielded too.
        """
        with contextlib.ExitStack() as stack:
            files = self._unread([stack.enter_context(file) for file in _open_all(self._path)])
            for number, file in enumerate(files):
                if number:
                    self._offset, self._anchor = 0, b""
                if self._offset == 0 and self._rest:
                    yield from self._finish()
                file.seek(self._offset)
                while block := file.read(_BLOCK):
                    self._offset += len(block)
                    self._anchor = (self._anchor + block)[-_ANCHOR_BYTES:]
                    yield from self._split(block)
        if last and self._rest:
            yield from self._finish()

    def _unread(self, files: list[BinaryIO]) -> list[BinaryIO]:
        """Return the files to go on with, oldest first, of those there are, newest first.

        A rotation moves bytes to another file: the last ones that were read identify it.
        """
        if not self._began:
            self._began = True
            return files[: _holding(files, self._wanted)][::-1]
        for number, file in enumerate(files):
            start = self._offset - len(self._anchor)
            if os.pread(file.fileno(), len(self._anchor), start) == self._anchor:
                return files[: number + 1][::-1]
        self._offset, self._anchor = 0, b""
        return files[:1]

    def _split(self, block: bytes) -> Iterator[Line]:
        *whole, rest = block.split(b"\n")
        for part in whole:
            self._append(part)
            yield from self._finish()
        self._append(rest)

    def _append(self, part: bytes) -> None:
        room = _MOST_LINE_BYTES - len(self._rest)
        self._rest += part[:room]
        self._left_out += max(0, len(part) - room)

    def _finish(self) -> Iterator[Line]:
        text = self._rest.decode("utf-8", "replace").removesuffix("\r")
        if self._left_out:
            text += f" [{show_bytes(self._left_out)} left out]"
        self._rest.clear()
        self._left_out = 0
        if not self._clock.takes_up(text):
            yield Line(self._clock.time_of(text), text)


class _LineClock:
    """Dates lines, from those before them."""

    def __init__(self) -> None:
        self._life = ""
        self._start: float | None = None
        self._now: float | None = None

    def takes_up(self, text: str) -> bool:
        """Return whether a line only marks where a rotated log goes on: readers skip it."""
        found = _MARKER.fullmatch(text)
        return found is not None and found[3] is not None and found[1] + found[2] == self._life

    def time_of(self, text: str) -> float | None:
        """Return when a line was written, in seconds since 1970; None if unknown."""
        if found := _MARKER.fullmatch(text):
            self._life = found[1] + found[2]
            self._start = self._now = _seconds(found[1])
        elif self._start is not None and (found := _ENGINES.match(text)):
            minutes, seconds, milliseconds, microseconds = map(int, found.groups())
            self._now = self._start + minutes * 60 + seconds + milliseconds / 1e3 + microseconds / 1e6
        elif found := _DAEMONS.match(text):
            self._now = _seconds(found[1])
        return self._now


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _open_all(path: Path) -> list[BinaryIO]:
    """Return a log and what was rotated from it, newest first; without those that are gone."""
    backups = path.parent.glob(f"{path.name}.*")
    numbers = sorted(int(number) for file in backups if (number := file.suffix[1:]).isdecimal())
    found: list[BinaryIO] = []
    for file in (path, *(path.with_name(f"{path.name}.{number}") for number in numbers)):
        with contextlib.suppress(FileNotFoundError):
            found.append(file.open("rb"))
    return found


def _holding(files: list[BinaryIO], lines: int | None) -> int:
    """Return how many files, newest first, hold that many lines together."""
    if lines is None:
        return len(files)
    count = 0
    for number, file in enumerate(files, start=1):
        while block := file.read(_BLOCK):
            count += block.count(b"\n")
        if count >= lines:
            return number
    return len(files)

"""The daemon's log: one structured line an event.

A line is `time LEVEL event key=value …`. Values from outside cannot break out of their
line: whatever is not plain text is written as a JSON string.
"""

import json
import logging
import re
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

from relayd.errors import StateError

_REPORT_SECONDS = 60.0
_PLAIN = re.compile(r"[A-Za-z0-9._:/#@+\-]+")


class Journal:
    """The log of one room: an event's name, then its fields."""

    def __init__(self, room: str) -> None:
        self._logger = logging.getLogger(f"relayd.{room}")

    def info(self, event: str, **fields: object) -> None:
        """Log an event of normal operation."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log an event that an operator should look at."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, *, trace: bool = False, **fields: object) -> None:
        """Log a failure; with `trace`, its traceback."""
        self._write(logging.ERROR, event, fields, trace=trace)

    def _write(self, level: int, event: str, fields: dict[str, object], *, trace: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            text = " ".join([event, *(f"{key}={_show(value)}" for key, value in fields.items())])
            self._logger.log(level, "%s", text, exc_info=trace, extra={"event": event, "fields": fields})


def open_journal(path: Path, *, max_bytes: int, backups: int, level: int = logging.INFO) -> None:
    """Send every room's log to a file that rotates; called once, by the program's entry.

    Raises:
        StateError: The file cannot be written.
    """
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = _JournalFile(path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8")
    except OSError as error:
        raise StateError(f"the log {path} cannot be written: {error.strerror}") from error
    handler.setFormatter(formatter)
    for name in ("relayd", "aiohttp", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
    logging.getLogger("relayd").setLevel(level)


class _JournalFile(RotatingFileHandler):
    """A rotating log file that survives its deletion and a full disk."""

    _reported_at = -_REPORT_SECONDS

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; into a new file if the old one was removed."""
        if not Path(self.baseFilename).exists():
            self.close()
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - the library calls it so
        """Report on stderr, once a minute, that the log cannot be written; the line is lost."""
        now = time.monotonic()
        if now - self._reported_at >= _REPORT_SECONDS:
            self._reported_at = now
            sys.stderr.write(f"relayd: {self.baseFilename} cannot be written: {sys.exc_info()[1]}\n")


def _show(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)

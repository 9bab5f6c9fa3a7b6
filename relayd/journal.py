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
from typing import Literal

from relayd.errors import StateError

_REPORT_SECONDS = 60.0
_MOMENT = "%Y-%m-%dT%H:%M:%S"

Form = Literal["text", "json"]
"""Of a line of the log."""
_PLAIN = re.compile(r"[A-Za-z0-9._:/#@+\-]+")


class Journal:
    """The log of one room: an event's name, then its fields."""

    def __init__(self, room: str) -> None:
        self._logger = logging.getLogger(f"relayd.{room}")

    def debug(self, event: str, **fields: object) -> None:
        """Log a detail that only a search for a fault needs."""
        self._write(logging.DEBUG, event, fields)

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


def open_journal(
    path: Path, *, max_bytes: int, backups: int, level: str = "info", form: Form = "text"
) -> None:
    """Send every room's log to a file that rotates; called once, by the program's entry.

    Args:
        path: The file.
        max_bytes: Size at which it is rotated.
        backups: Rotated files that are kept.
        level: What is written: `error`, `warning`, `info` or `debug`, and what is worse.
        form: Whether a line is text, or a JSON object.

    Raises:
        StateError: The file cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = _JournalFile(path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8")
    except OSError as error:
        raise StateError(f"the log {path} cannot be written: {error.strerror}") from error
    for name in ("relayd", "aiohttp", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
    configure_journal(level, form)


def configure_journal(level: str, form: Form) -> None:
    """Have the file that is open hold other events, in another form, from now on.

    Who follows the journal otherwise (feeds, counts) gets every event from `info` up all the same.
    """
    logger, number = logging.getLogger("relayd"), logging.getLevelNamesMapping()[level.upper()]
    logger.setLevel(min(logging.INFO, number))
    for handler in logger.handlers:
        if isinstance(handler, _JournalFile):
            handler.setLevel(number)
            handler.setFormatter(_JsonLine() if form == "json" else _text_line())


def _text_line() -> logging.Formatter:
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(message)s", _MOMENT)
    formatter.converter = time.gmtime
    return formatter


class _JsonLine(logging.Formatter):
    """Writes a line as a JSON object: time, level, event, and the fields of the event."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        at = f"{self.formatTime(record, _MOMENT)}.{record.msecs:03.0f}Z"
        event = getattr(record, "event", "") or "log.line"
        line: dict[str, object] = {"time": at, "level": record.levelname.lower(), "event": event}
        if not getattr(record, "event", ""):
            line["message"] = record.getMessage()
        line |= {
            name: value if isinstance(value, str | int | float | bool | None) else str(value)
            for name, value in getattr(record, "fields", {}).items()
            if name not in line
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


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

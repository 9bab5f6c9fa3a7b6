"""Benchmark results of this machine, kept for the planner."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from relayd.errors import StateError

FILE = "benchmarks.jsonl"


def remember_run(state: Path, run: dict[str, Any]) -> None:
    """Append a measurement, one JSON object a line.

    Raises:
        StateError: The state folder cannot be written.
    """
    try:
        descriptor = os.open(state / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(run) + "\n")
    except OSError as error:
        raise StateError(f"{state / FILE} cannot be written: {error.strerror}") from error


def remembered_runs(state: Path) -> Iterator[dict[str, Any]]:
    """Yield the measurements, oldest first; unreadable lines are skipped."""
    try:
        lines = (state / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError):
            run = json.loads(line)
            if isinstance(run, dict):
                yield run

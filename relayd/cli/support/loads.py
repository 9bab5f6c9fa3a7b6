"""A model is loaded by command, with its progress on a terminal."""

import os
import shutil
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from pathlib import Path

import psutil

from relayd.client.control import Client
from relayd.clock import SystemClock
from relayd.daemon.report import ReplicaReport, ReplicasReport, StatusReport
from relayd.errors import DaemonError, NotLoadedError
from relayd.gguf import model_files
from relayd.ui.loading import loading_line

ERASE = "\r\x1b[2K"
_STEP_SECONDS = 0.2
_ON_THE_WAY = frozenset({"waiting", "starting", "loading"})


def load_model(client: Client, model: str) -> None:
    """Bring a model into memory, and show how far it is; nothing where it is ready.

    Raises:
        NotLoadedError: It cannot be loaded, with the reason.
        DaemonError: The daemon refuses.
    """
    if any(one.state == "ready" for one in replicas_of(model, client.status())):
        return
    bar = LoadingBar(model)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(client.load, model)
        try:
            while not _is_over(loading):
                bar.show(*_progress(client, model))
        finally:
            bar.end()
    _check(loading.result(), client, model)


class LoadingBar:
    """One line on standard error that is replaced by the next; nothing outside a terminal.

    Args:
        name: What is loaded.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._began = SystemClock().monotonic()
        self._on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._is_there = False

    def __repr__(self) -> str:
        return f"<LoadingBar of {self.name}{'' if self._is_there else ', not shown'}>"

    def show(self, done: int, total: int) -> None:
        """Show how many bytes are in memory, and of how many."""
        if self._on_terminal:
            self._is_there = True
            columns = shutil.get_terminal_size().columns
            seconds = SystemClock().monotonic() - self._began
            self._write(ERASE + loading_line(self.name, done, total, seconds, columns))

    def end(self) -> None:
        """Take the line back."""
        if self._is_there:
            self._is_there = False
            self._write(ERASE)

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def replicas_of(model: str, report: StatusReport) -> tuple[ReplicaReport, ...]:
    """Return the replicas of a model of a status report."""
    return next((one.replicas for one in report.models if model in (one.name, *one.aliases)), ())


def loaded_bytes(pid: int | None) -> int:
    """Return what a process has read or holds of its files; 0 without one."""
    try:
        process = psutil.Process(pid or 0)
        read = process.io_counters().read_chars if pid and hasattr(process, "io_counters") else 0
        return max(process.memory_info().rss, read) if pid else 0
    except (psutil.Error, OSError):
        return 0


def file_bytes(file: str) -> int:
    """Return the size of a model with all its parts; 0 where it cannot be read."""
    try:
        return sum(part.stat().st_size for part in model_files(Path(file)))
    except (OSError, DaemonError):
        return 0


def _is_over(loading: Future[ReplicasReport]) -> bool:
    try:
        loading.exception(_STEP_SECONDS)
    except NotYetError:
        return False
    return True


def _progress(client: Client, model: str) -> tuple[int, int]:
    report = client.status()
    found = next((one for one in report.models if model in (one.name, *one.aliases)), None)
    if found is None:
        return 0, 0
    done = max((loaded_bytes(one.pid) for one in found.replicas if one.state in _ON_THE_WAY), default=0)
    return done, file_bytes(found.file)


def _check(came_out: ReplicasReport, client: Client, model: str) -> None:
    """Raise NotLoadedError with the reason unless a replica serves."""
    if "ready" in came_out.replicas.values():
        return
    replicas = replicas_of(model, client.status())
    ends = [one.last_exit for one in replicas if one.last_exit]
    reason = next(iter(came_out.not_started.values()), "") or (ends[0].message if ends else "")
    remedy = ends[0].remedy if ends else ""
    raise NotLoadedError(
        f"{model} cannot be loaded{f': {reason}' if reason else ''}",
        remedy=remedy or f"Its log shows more: relayd logs {model}.",
    )

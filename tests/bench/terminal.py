"""What does a terminal show while somebody types? A real one: tmux, which has to be installed."""

import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event

COLUMNS, ROWS = 100, 400
PATIENCE_SECONDS = 1800.0
"""The first start may compile an engine."""

_LOOK_SECONDS = 0.02


class Terminal:
    """A terminal in which each command has a window of its own.

    Args:
        home: Where commands run.
        environ: All variables that they see.
    """

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        if shutil.which("tmux") is None:
            raise SystemExit("tmux is needed: apt-get install tmux")
        self._home = home
        self._tmux = ["tmux", "-S", str(home / "tmux"), "-f", "/dev/null"]
        self._environ = {**environ, "TERM": "tmux-256color", "LANG": "C.UTF-8"}
        size = ["-x", str(COLUMNS), "-y", str(ROWS)]
        self._ask("new-session", "-d", "-s", "newcomer", *size, "cat")
        self._ask("set-option", "-g", "remain-on-exit", "on")
        self._ask("set-option", "-g", "remain-on-exit-format", "")
        self._ask("set-option", "-g", "status", "off")

    def open(self, line: str, folder: Path | None = None) -> str:
        """Begin a command line in a new window, and return the window."""
        where = ["-c", str(folder or self._home)]
        return self._ask("new-window", "-d", "-P", "-F", "#{window_id}", *where, f"sh -c {shlex.quote(line)}")

    def ended(self, window: str) -> int | None:
        """Return the exit status of a window's command; None while it runs."""
        dead, status = self._ask("display", "-p", "-t", window, "#{pane_dead} #{pane_dead_status}").split(" ")
        return int(status or 0) if dead == "1" else None

    def screen(self, window: str) -> str:
        """Return what a window shows, without the empty lines below."""
        return self._ask("capture-pane", "-p", "-t", window).rstrip()

    def await_end(self, window: str) -> int:
        """Wait until a command has ended, and return its exit status."""
        self._await(lambda: self.ended(window) is not None, window)
        return self.ended(window) or 0

    def await_text(self, window: str, text: str) -> None:
        """Wait until a window shows a text, or its command has ended."""
        self._await(lambda: text in self.screen(window) or self.ended(window) is not None, window)

    def close(self) -> None:
        """End every command."""
        self._ask("kill-server")

    def _await(self, condition: Callable[[], bool], window: str) -> None:
        deadline, never = time.monotonic() + PATIENCE_SECONDS, Event()
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing more came: {self.screen(window)}")
            never.wait(_LOOK_SECONDS)

    def _ask(self, *command: str) -> str:
        done = subprocess.run(
            [*self._tmux, *command], env=self._environ, capture_output=True, text=True, check=True
        )
        return done.stdout.rstrip("\n")

"""A command on a terminal of a chosen width: what it shows, and what a person types there."""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.daemons import DEADLINE_SECONDS, wait_until

_ON_IT = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # Ctrl-C is for who has the terminal
os.execv(sys.executable, [sys.executable, "-m", "relayd", *sys.argv[1:]])
"""


class OnTerminal:
    """`relayd` on a terminal.

    Args:
        words: What follows `relayd`.
        environ: Its environment.
        cwd: Where it is typed.
        columns: Width of the terminal.
    """

    def __init__(self, words: str, environ: Mapping[str, str], cwd: Path, columns: int = 80) -> None:
        self._terminal, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.screen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ON_IT, *words.split()],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=cwd,
            env={**environ, "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def await_text(self, text: str, times: int = 1) -> None:
        """Wait until a text is on the screen so many times."""
        wait_until(lambda: self.screen.count(text) >= times or self.process.poll() is not None)
        assert self.screen.count(text) >= times, self.screen

    def types(self, text: str) -> None:
        """Type a text; `\\x03` is Ctrl-C."""
        os.write(self._terminal, text.encode())

    def end(self) -> int:
        """Return the exit status once it has ended, and close the terminal."""
        try:
            status = self.process.wait(DEADLINE_SECONDS)
        finally:
            self.process.kill()
            self._reader.join(DEADLINE_SECONDS)
            os.close(self._terminal)
        return status

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the other side is closed
            while data := os.read(self._terminal, 65536):
                self.screen += data.decode("utf-8", "replace").replace("\r\n", "\n")

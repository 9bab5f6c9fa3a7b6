"""Record commands on a terminal of their own as an SVG: `python extras/record_screen.py OUT.svg`.

The commands run for real, one after the other, in an empty home that links the engines of the one around it;
`--home FOLDER` takes another home, for example one with models. A command that goes on running is left when
its text has appeared, and is ended at the end.
"""

import argparse
import io
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from fcntl import ioctl
from itertools import groupby
from pathlib import Path
from select import select
from termios import TIOCSWINSZ

from rich.console import Console
from rich.text import Text

COLUMNS, ROWS = 100, 50
MOST_SECONDS = 60.0

_SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b[^\[]")
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""Fonts that rich would have a page load from elsewhere."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command that is typed.

    Attributes:
        command: The line, as a person types it.
        until: Text after which it is left running; "" waits for its end.
        typed: What is typed once `until` has appeared, as if at a prompt.
    """

    command: str
    until: str = ""
    typed: Sequence[str] = ()


SCENE = (
    Step("relayd serve --demo", until="chat"),
    Step("relayd chat", until="> ", typed=("What are you?",)),
)

FOR_ROOT = "warning: relayd runs as root; a user of its own is safer"
"""Shown to root alone, who records; left out."""


@dataclass(slots=True)
class Screen:
    """What a terminal shows after the bytes of a program: colours, returns, lines that are erased."""

    lines: list[list[tuple[str, str]]] = field(default_factory=lambda: [[]])
    row: int = 0
    column: int = 0
    style: str = ""

    def feed(self, text: str) -> None:
        """Show text, with its control sequences."""
        at = 0
        for found in _SEQUENCE.finditer(text):
            self._write(text[at : found.start()])
            self._control(found[1] or "", found[2] or "")
            at = found.end()
        self._write(text[at:])

    def ansi(self) -> str:
        """Return the lines, with colours as control sequences."""
        lines = ("".join(_coloured(line)).rstrip() for line in self.lines)
        return "\n".join(line for line in lines if FOR_ROOT not in line)

    def _write(self, text: str) -> None:
        for char in text:
            if char == "\r":
                self.column = 0
            elif char == "\n":
                self.row += 1
                if self.row == len(self.lines):
                    self.lines.append([])
            elif char.isprintable():
                if self.column == COLUMNS:
                    self._write("\r\n")
                line = self.lines[self.row]
                line.extend([("", " ")] * (self.column + 1 - len(line)))
                line[self.column] = (self.style, char)
                self.column += 1

    def _control(self, values: str, kind: str) -> None:
        number = int(values) if values.isdecimal() else 1
        if kind == "m":
            self.style = "" if values in {"", "0"} else f"{self.style}\x1b[{values}m"
        elif kind == "A":
            self.row = max(0, self.row - number)
        elif kind == "G":
            self.column = number - 1
        elif kind == "K":
            del self.lines[self.row][0 if values == "2" else self.column :]


def _coloured(line: Sequence[tuple[str, str]]) -> Iterator[str]:
    for style, run in groupby(line, key=lambda cell: cell[0]):
        text = "".join(char for _, char in run)
        yield f"{style}{text}\x1b[0m" if style else text


def record(scene: Sequence[Step], environ: Mapping[str, str]) -> str:
    """Run a scene, and return what its terminal shows at the end, with colours as control sequences."""
    shown = []
    with ExitStack() as running:
        for step in scene:
            screen = Screen()
            screen.feed(f"\x1b[1m$ {step.command}\x1b[0m\r\n")
            _run(step, screen, environ, running)
            shown.append(screen.ansi().rstrip())
    return "\n\n".join(shown)


def svg(ansi: str, columns: int = COLUMNS) -> str:
    """Return a picture of a terminal that shows text."""
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(ansi), soft_wrap=True)
    picture = console.export_svg(title="relayd", unique_id="screen")
    return "\n".join(line.rstrip() for line in _FONT.sub("", picture).splitlines()) + "\n"


def _run(step: Step, screen: Screen, environ: Mapping[str, str], running: ExitStack) -> None:
    ours, theirs = os.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    child = subprocess.Popen(  # noqa: S603 - the lines of the scene above
        shlex.split(step.command),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=dict(environ),
        start_new_session=True,
    )
    os.close(theirs)
    running.callback(os.close, ours)
    running.callback(_end, child)
    _read(ours, screen, step.until)
    for line in step.typed:
        os.write(ours, f"{line}\n".encode())
        _read(ours, screen, step.until)


def _read(descriptor: int, screen: Screen, until: str) -> None:
    """Show what comes, up to a text or to the end of the program."""
    seen, late = "", time.monotonic() + MOST_SECONDS
    while not (until and until in seen):
        if not select([descriptor], [], [], max(0.0, late - time.monotonic()))[0]:
            sys.exit(f"{until!r} did not appear within {MOST_SECONDS:.0f} s, but: {seen[-500:]}")
        try:
            text = os.read(descriptor, 1 << 16).decode("utf-8", "replace")
        except OSError:  # the program has ended (Linux)
            return
        if not text:
            return
        seen += text
        screen.feed(text)


def _end(child: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(child.pid, number)
            child.wait(timeout=10)
            return


def _home(engines: Path, folder: Path) -> Path:
    """Make an empty home that has the engines of another one."""
    data = folder / ".local/share/relayd"
    data.mkdir(parents=True)
    if engines.exists():
        (data / "engines").symlink_to(engines)
    return folder


def main() -> None:
    """Record the scene into the file that is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, metavar="OUT.svg")
    parser.add_argument("--home", type=Path, help="a home with models; an empty one by default")
    given = parser.parse_args()
    engines = Path.home() / ".local/share/relayd/engines"
    with tempfile.TemporaryDirectory() as folder:
        home = given.home or _home(engines, Path(folder))
        keep = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
        environ = keep | {"HOME": str(home), "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
        given.file.write_text(svg(record(SCENE, environ)), "utf-8")


if __name__ == "__main__":
    main()

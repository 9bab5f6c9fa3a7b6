"""How a conversation looks on a terminal, and outside one: answers, thoughts, figures, the prompt."""

import os
import shutil
import sys
from collections.abc import Callable

import typer

from relayd.cli.support.talk import Talk
from relayd.client.chat import Turn
from relayd.printable import printable
from relayd.ui.wrap import WordWrap

PROMPT = ">>> "
MORE = "... "
LINES = '"""'
"""Begins and ends a text of several lines."""

_ERASE = "\r\x1b[2K"


class Screen:
    """Shows one answer as it comes.

    Args:
        silent: Show nothing: a program reads the whole answer at the end.
    """

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self._on_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        columns = shutil.get_terminal_size().columns if self._on_terminal else 0
        self._wrap = WordWrap(columns)
        self._waits = self._thinks = False

    def __repr__(self) -> str:
        return f"<Screen, {self._wrap!r}>"

    @property
    def on_wait(self) -> Callable[[str], None] | None:
        """What shows why no answer begins; None outside a terminal."""
        return self._wait if self._on_terminal and not self._silent else None

    def text(self, piece: str) -> None:
        """Show a piece of the answer."""
        if self._thinks:
            self._thinks = False
            self._write(self._wrap.end() + "\n\n")
        self._write(self._wrap.feed(piece))

    def thought(self, piece: str) -> None:
        """Show a piece of what the model thinks; only a person reads it."""
        if self._on_terminal:
            self._thinks = True
            self._write(self._wrap.feed(piece), dim=True)

    def end(self) -> None:
        """End the answer's line."""
        self._write(self._wrap.end() + "\n")

    def stop(self) -> None:
        """Take back what shows that the answer is awaited: there will be none."""
        self._write("")

    def _wait(self, why: str) -> None:
        self._waits = True
        sys.stderr.write(f"{_ERASE}{why} …")
        sys.stderr.flush()

    def _write(self, text: str, *, dim: bool = False) -> None:
        if self._waits:
            self._waits = False
            sys.stderr.write(_ERASE)
            sys.stderr.flush()
        if self._silent or not text:
            return
        # A line break is text; any other control character could command the terminal.
        safe = "\n".join(map(printable, text.split("\n")))
        is_dim = dim and not os.environ.get("NO_COLOR")
        sys.stdout.write(typer.style(safe, dim=True) if is_dim else safe)
        sys.stdout.flush()


def figures(turn: Turn) -> str:
    """Return what an answer took, for people: `52 tokens, 38/s, first word 0.2 s`."""
    speed = f", {turn.per_second:.{0 if turn.per_second >= 10 else 1}f}/s" if turn.per_second else ""
    first = turn.first_token_seconds
    after = f"{first:.1f} s" if first >= 0.095 else f"{first * 1000:.0f} ms"
    return f"{turn.tokens} token{'' if turn.tokens == 1 else 's'}{speed}, first word {after}"


def dim(text: str) -> None:
    """Show a line besides the answers, on standard error."""
    typer.secho(text, dim=not os.environ.get("NO_COLOR"), err=True)


def converse(talk: Talk) -> None:
    """Have a person talk with a model until they leave; Ctrl-C ends an answer, twice leaves.

    Raises:
        NoDaemonError: The daemon is gone.
    """
    import readline  # noqa: F401 - arrow keys and history work once it is imported

    from relayd.errors import NoDaemonError, RelaydError

    leaving = False
    while True:
        try:
            if (line := _typed()) is None:
                return
        except KeyboardInterrupt:
            print()
            if leaving:
                return
            leaving = True
            dim("Ctrl-C again or /bye leaves.")
            continue
        leaving = False
        try:
            if line and not talk.take(line):
                return
        except KeyboardInterrupt:
            leaving = True
            dim("\n[cut short] Ctrl-C again or /bye leaves.")
        except NoDaemonError:
            raise
        except RelaydError as error:
            dim(f"\nrelayd: {error.message}" + "".join(f"\n  {one}" for one in error.remedy.splitlines()))


def _typed() -> str | None:
    """Return what is typed, also over several lines; None at the end of the input."""
    try:
        line = input(PROMPT).strip()
        if not line.startswith(LINES):
            return line
        text = line.removeprefix(LINES)
        while not text.rstrip().endswith(LINES):
            text += "\n" + input(MORE)
    except EOFError:
        print()
        return None
    return text.rstrip().removesuffix(LINES).strip()

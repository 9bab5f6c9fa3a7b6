"""Single keys of a terminal, without waiting for Enter (cbreak mode)."""

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator

_SEQUENCES = {
    "\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down",
    "\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\x1b": "escape",
    "\x03": "interrupt",
}  # fmt: skip


@contextlib.contextmanager
def single_keys() -> Iterator[int]:
    """Lend the descriptor of the terminal, which gives each key as it is pressed and shows none."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def next_key(descriptor: int, timeout_seconds: float) -> str:
    """Return the next key by name, a character as it is; empty when none comes in time."""
    if not select.select([descriptor], [], [], timeout_seconds)[0]:
        return ""
    text = os.read(descriptor, 32).decode(errors="replace")
    return key_of(text)


def key_of(text: str) -> str:
    """Return the name of what one key sends."""
    return _SEQUENCES.get(text, text[:1])

"""What a command may count on: standard streams, a home, a working folder (process environment).

Output that cannot be written is an error of its own. What is written to standard error is lost where that is
closed or full: no stream is left to report it on.
"""

import io
import os
import sys

from relayd.errors import OutputError


def prepare() -> None:
    """Make up for what is missing around this process."""
    _open_descriptors()
    _make_streams()
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - pathlib takes longer to import than `--help` to answer
        from relayd.files import NO_HOME

        os.environ["HOME"] = str(NO_HOME)
    try:
        os.getcwd()  # noqa: PTH109 - as above
    except OSError:
        os.chdir("/")
        print("relayd: the working folder does not exist any more; / is used instead", file=sys.stderr)


def discard_output() -> None:
    """Send to nowhere what is still to be written to standard output, so that it fails no more."""
    target = os.open(os.devnull, os.O_WRONLY)
    os.dup2(target, 1)
    os.close(target)


def _open_descriptors() -> None:
    """Open what the parent has closed: else the next file that is opened would become standard output."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor: this one


def _make_streams() -> None:
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as the process
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        sys.stdout = _text(_Output(1), sys.stdout)
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Errors(2), sys.stderr)


def _text(raw: io.RawIOBase, like: io.TextIOBase | None) -> io.TextIOWrapper:
    """Return a text stream with the encoding of the one it replaces; without one nothing can be read."""
    encoding, errors = (like.encoding, like.errors) if like else ("utf-8", "replace")
    lines = raw.isatty() or raw.fileno() == 2
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=lines)


class _Output(io.FileIO):
    """Standard output; a write that fails raises `OutputError`."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]  # a buffer, whatever its type
        except OSError as error:
            closed = isinstance(error, BrokenPipeError)
            raise OutputError(f"standard output: {error.strerror}", closed=closed) from error


class _Errors(io.FileIO):
    """Standard error; what cannot be written is lost."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]  # a buffer, whatever its type
        except OSError:
            return len(memoryview(data))  # type: ignore[arg-type]  # as above

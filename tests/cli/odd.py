"""Run commands in odd surroundings, each in a fork of one process, and print how they ended as JSON."""

import json
import os
import pwd
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NoReturn

from relayd.cli import main
from tests.daemons import home_environ


def _full(_home: Path) -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def _pipe_without_reader(_home: Path) -> None:
    reads, writes = os.pipe()
    os.dup2(writes, 1)
    os.close(reads)
    os.close(writes)


def _closed(_home: Path) -> None:
    os.close(1)
    sys.stdout = None  # as Python starts then


def _all_closed(home: Path) -> None:
    _closed(home)
    os.close(0)
    os.close(2)
    sys.stdin = sys.stderr = None  # as Python starts then


def _errors_full(_home: Path) -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 2)


def _deleted_folder(home: Path) -> None:
    gone = home / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()


def _no_home(_home: Path) -> None:
    def unknown(uid: int) -> NoReturn:
        raise KeyError(uid)

    os.environ.pop("HOME")
    pwd.getpwuid = unknown


def _no_home_and_no_paths(home: Path) -> None:
    _no_home(home)
    for name in [name for name in os.environ if name.startswith(("XDG_", "RELAYD_"))]:
        del os.environ[name]


SURROUNDINGS: dict[str, Callable[[Path], None]] = {
    "plain": lambda _: None,
    "full": _full,
    "pipe": _pipe_without_reader,
    "closed": _closed,
    "all closed": _all_closed,
    "errors full": _errors_full,
    "deleted folder": _deleted_folder,
    "no home": _no_home,
    "no home, no paths": _no_home_and_no_paths,
}


def run(command: str, surroundings: str) -> tuple[int, str, str]:
    """Return exit status, output and errors of a command."""
    with (
        tempfile.TemporaryDirectory() as home,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        child = os.fork()
        if not child:
            _become(command, surroundings, Path(home), output, errors)
        _, status = os.waitpid(child, 0)
        shown = []
        for file in (output, errors):
            file.seek(0)
            shown.append(file.read().decode())
        return os.waitstatus_to_exitcode(status), shown[0], shown[1]


def _become(command: str, surroundings: str, home: Path, output: BinaryIO, errors: BinaryIO) -> NoReturn:
    status = 99
    try:
        os.environ.clear()
        os.environ.update(home_environ(home))
        os.chdir(home)
        os.dup2(output.fileno(), 1)
        os.dup2(errors.fileno(), 2)
        SURROUNDINGS[surroundings](home)
        sys.argv = ["relayd", *shlex.split(command)]
        main.run()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 98
    except BaseException:  # noqa: BLE001 - whatever it is, the test shows it
        os.write(errors.fileno(), traceback.format_exc().encode())
    finally:
        os._exit(status)


def run_all(lines: list[str]) -> dict[str, dict[str, tuple[int, str, str]]]:
    """Return how each command ended in all surroundings; what they import is imported once."""
    for name in {line.split()[0] for line in lines} & main.COMMANDS.keys():
        main.COMMANDS[name].load(name)
    return {name: {line: run(line, name) for line in lines} for name in SURROUNDINGS}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run_all(sys.argv[1:])))

"""Atomic file replacement, private folders, and quarantine of unreadable files."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from relayd.errors import StateError, UsageError


def readable(path: str | Path) -> str:
    r"""Return a path as text that can be shown and encoded; bytes that are not UTF-8 become `\xff`."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def is_text(path: str | Path) -> bool:
    """Return whether a path can be written into JSON, TOML and logs: all of its bytes are UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def text_path(path: Path) -> Path:
    """Return a path that JSON, TOML and logs can hold.

    Raises:
        UsageError: It has bytes that are not UTF-8.
    """
    if is_text(path):
        return path
    raise UsageError(
        f"{readable(path)} has bytes that are not UTF-8",
        remedy="Rename it, or make a link with another name to it: `ln -s OLD NEW`.",
    )


def expanded(path: str | Path) -> Path:
    """Return a path with `~` and `~USER` filled in; of a user without a home it stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises RuntimeError there


def is_file(path: Path) -> bool:
    """Return whether there is a file; what cannot be looked at, as a name that is too long, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Return whether there is a folder; what cannot be looked at is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


NO_HOME = Path("/nonexistent")
"""The home of a user who has none, by the convention of Debian."""


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace `path` by `data` so that a crash leaves the old bytes or the new ones, on disk.

    Args:
        path: The file; its folder exists.
        data: All of its bytes.
        mode: Permission bits of the new file.

    Raises:
        StateError: The folder cannot be written, or the disk is full.
    """
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        temporary = None
        sync_folder(path.parent)
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch_folder(otherwise: Path, usual: Path | None = None) -> Iterator[Path]:
    """Lend a temporary folder.

    Args:
        otherwise: Where it is made if the usual place cannot be written, as on a read-only root.
        usual: Where else; None is the system's place for such.

    Raises:
        StateError: Neither can be written.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix="relayd-", dir=usual)
    except OSError:
        try:
            private_folder(otherwise)
            made = tempfile.TemporaryDirectory(prefix="relayd-", dir=otherwise)
        except OSError as error:
            raise StateError(f"{otherwise} cannot be written: {error.strerror}") from error
    with made as folder:
        yield Path(folder)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut (rename(2) alone does not)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_folder(path: Path) -> Path:
    """Return `path` as a folder that only its owner can enter (0700), made if it is missing.

    Raises:
        StateError: It is not a folder, belongs to another user, or cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.stat()
        if found.st_uid != os.geteuid():
            raise StateError(
                f"{path} belongs to user {found.st_uid}, not to user {os.geteuid()}",
                remedy="Give it to the user that runs relayd, or choose another folder.",
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            path.chmod(0o700)
    except OSError as error:
        raise StateError(f"{path} cannot be used as a folder: {error.strerror}") from error
    return path


def quarantine(path: Path) -> Path:
    """Rename an unreadable file to the first free `NAME.corrupt-N`, and return that path.

    Raises:
        StateError: The file cannot be moved.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    try:
        path.rename(aside)
    except OSError as error:
        raise StateError(f"{path} cannot be moved aside: {error.strerror}") from error
    return aside

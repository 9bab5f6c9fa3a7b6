"""Carrying out an install or uninstall plan, and the checks before it."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from relayd.errors import StateError, UsageError
from relayd.files import write_atomic
from relayd.service.plan import Remove, RunCommand, ServiceKind, Step, Write


def carry_out(
    steps: Iterable[Step], run: Callable[[RunCommand], int], report: Callable[[Step], None]
) -> None:
    """Do every step in order.

    Args:
        steps: What to do.
        run: Runs a command and returns its exit status.
        report: Called before each step.

    Raises:
        StateError: A file cannot be written or removed, or a command failed; what was done stays.
    """
    for step in steps:
        report(step)
        match step:
            case Write(path, text):
                with _written(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, text.encode(), mode=0o644)
            case Remove(path):
                with _written(path):
                    path.unlink(missing_ok=True)
                _remove_empty(path.parent)
            case RunCommand():
                status = run(step)
                if status and not step.may_fail:
                    raise StateError(
                        f"`{' '.join(step.command)}` failed with exit status {status}",
                        remedy="Correct it and install again, or undo it with `relayd service uninstall`.",
                    )


def closed_to_others(path: Path) -> Path | None:
    """Return the folder or file on the way to `path` that other users may not read, or None."""
    for one in (*reversed(path.parents), path):
        needed = stat.S_IXOTH if one != path or one.is_dir() else stat.S_IROTH
        if not one.stat().st_mode & needed:
            return one
    return None


def missing_manager(kind: ServiceKind, environ: Mapping[str, str], root: Path = Path("/")) -> str:
    """Return why no service manager takes commands here, or "".

    The test for systemd is that of sd_booted(3).
    """
    if kind.launchd:
        return "" if (root / "bin/launchctl").exists() else "this system has no launchd: it is not macOS"
    if not (root / "run/systemd/system").is_dir():
        return "systemd does not run this machine"
    if not kind.system and not (Path(environ.get("XDG_RUNTIME_DIR", "/nowhere")) / "systemd").is_dir():
        return "this user has no systemd session"
    return ""


def require_manager(kind: ServiceKind, environ: Mapping[str, str]) -> None:
    """Refuse to go on where no service manager takes commands.

    Raises:
        UsageError: There is none.
    """
    if why := missing_manager(kind, environ):
        raise UsageError(
            f"{why}, so nothing was written",
            remedy="Use --files-only to write the files without running a command, or `relayd "
            "service show` to print them.",
        )


def _remove_empty(folder: Path) -> None:
    """Remove `systemd/user` and `systemd` of a person, which nothing else may need."""
    with contextlib.suppress(OSError):
        if folder.name == "user":
            folder.rmdir()
            folder.parent.rmdir()


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StateError(f"{path}: {os.strerror(error.errno or 0)}") from error

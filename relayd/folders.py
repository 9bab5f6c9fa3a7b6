"""relayd's own folders (XDG base directories).

The XDG base directories, on Linux and macOS alike: command-line programs are looked for there on both.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from relayd.errors import ConfigError, StateError
from relayd.files import NO_HOME

LONGEST_SOCKET_NAME = "01234567.sock"
"""A replica's socket, 8 hex digits; the longest name in the runtime folder that is ever bound."""

SOCKET_PATH_LIMIT_BYTES = 100
"""Below `sun_path` of every system: 108 bytes on Linux, 104 on macOS, with the final NUL."""


@dataclass(frozen=True, slots=True)
class Paths:
    """relayd's folders and files; all absolute, none of them made yet.

    Attributes:
        config: relay.toml of this user.
        data: Engines and downloaded models.
        cache: What can be fetched or computed again.
        state: What outlives a reboot: models.toml, records, logs, the database.
        runtime: Sockets, keys and locks of running processes.
        control_socket: The socket that commands use.
        lock: Held by the daemon while it runs.
    """

    config: Path
    data: Path
    cache: Path
    state: Path
    runtime: Path
    control_socket: Path
    lock: Path


def config_dir(environ: Mapping[str, str] | None = None, home: Path | None = None) -> Path:
    """Return the folder of relay.toml; without arguments, for this process."""
    return _xdg("XDG_CONFIG_HOME", ".config", environ, home)


def data_dir(environ: Mapping[str, str] | None = None, home: Path | None = None) -> Path:
    """Return the folder of engines and models; without arguments, for this process."""
    return _xdg("XDG_DATA_HOME", ".local/share", environ, home)


def cache_dir(environ: Mapping[str, str] | None = None, home: Path | None = None) -> Path:
    """Return the folder of what can be made again; without arguments, for this process."""
    return _xdg("XDG_CACHE_HOME", ".cache", environ, home)


def state_dir(environ: Mapping[str, str] | None = None, home: Path | None = None) -> Path:
    """Return the folder of what outlives a reboot; without arguments, for this process."""
    return _xdg("XDG_STATE_HOME", ".local/state", environ, home)


def runtime_dir(environ: Mapping[str, str] | None = None, home: Path | None = None) -> Path:
    """Return the folder of sockets; without arguments, for this process.

    `RELAYD_RUNTIME_DIR`, else the first of `$RUNTIME_DIRECTORY` (systemd.exec(5)), else `run` in the state
    folder. Not XDG_RUNTIME_DIR: it is deleted at the last logout, under replicas that live on.

    Raises:
        ConfigError: The folder is relative, or too long a path for a socket.
    """
    environ = os.environ if environ is None else environ
    chosen = environ.get("RELAYD_RUNTIME_DIR") or environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    folder = Path(chosen) if chosen else state_dir(environ, home) / "run"
    if not folder.is_absolute():
        raise ConfigError(
            f"the runtime folder {folder} is not an absolute path",
            remedy="Set RELAYD_RUNTIME_DIR to an absolute path, such as /run/relayd.",
        )
    return with_socket_room(folder)


def with_socket_room(folder: Path) -> Path:
    """Return `folder`, if the longest path of a socket in it is short enough for the kernel.

    Raises:
        ConfigError: It is not.
    """
    longest = os.fsencode(folder / LONGEST_SOCKET_NAME)
    if len(longest) > SOCKET_PATH_LIMIT_BYTES:
        raise ConfigError(
            f"the runtime folder {folder} is too long: a socket in it takes {len(longest)} bytes, and "
            f"the limit is {SOCKET_PATH_LIMIT_BYTES}",
            remedy="Set RELAYD_RUNTIME_DIR to a shorter path of a folder that only you can enter.",
        )
    return folder


def paths(environ: Mapping[str, str], home: Path) -> Paths:
    """Return every path for this environment; root has no others.

    Raises:
        ConfigError: No socket can be made in the runtime folder.
    """
    runtime = runtime_dir(environ, home)
    return Paths(
        config=config_dir(environ, home),
        data=data_dir(environ, home),
        cache=cache_dir(environ, home),
        state=state_dir(environ, home),
        runtime=runtime,
        control_socket=runtime / "control.sock",
        lock=runtime / "relayd.lock",
    )


def own_paths(
    environ: Mapping[str, str] | None = None, home: Path | None = None, *, demo: bool = False
) -> Paths:
    """Return the folders of the daemon, or of the demo's own daemon; without arguments, for this process.

    Raises:
        ConfigError: No socket can be made in the runtime folder.
    """
    own = paths(os.environ if environ is None else environ, Path.home() if home is None else home)
    if not demo:
        return own
    runtime = with_socket_room(own.runtime / "demo")
    return replace(
        own,
        state=own.state / "demo",
        runtime=runtime,
        control_socket=runtime / own.control_socket.name,
        lock=runtime / own.lock.name,
    )


def make_folders(own: Paths) -> None:
    """Make the folders that are missing, 0700, and refuse those that others could use.

    What exists is never changed: it may be a folder that the operator shares on purpose.

    Raises:
        StateError: A folder cannot be made, or lets others read state or sockets, or write anything.
    """
    for folder, forbidden in (
        (own.data, 0o022),
        (own.cache, 0o022),
        (own.state, 0o077),
        (own.runtime, 0o077),
    ):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
        except OSError as error:
            raise StateError(f"the folder {folder} cannot be made: {error.strerror}") from error
        _check_private(folder, status, forbidden)


def _check_private(folder: Path, status: os.stat_result, forbidden: int) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if mode & forbidden:
        raise StateError(
            f"the folder {folder} is open to other users (mode {mode:04o})",
            remedy=f"Run `chmod 700 {folder}`.",
        )
    if forbidden & 0o055 and status.st_uid != os.geteuid():
        raise StateError(
            f"the folder {folder} belongs to another user (uid {status.st_uid})",
            remedy="Run relayd as that user, or move the folder away.",
        )


def _xdg(variable: str, default: str, environ: Mapping[str, str] | None, home: Path | None) -> Path:
    """Return relayd's folder in a base directory; the specification ignores relative ones."""
    base = Path((os.environ if environ is None else environ).get(variable, ""))
    if not base.is_absolute():
        known = Path.home() if home is None else home
        if known == NO_HOME:
            raise ConfigError(
                f"{variable} is not set, and user {os.geteuid()} has no home folder",
                remedy="Set HOME, or XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_STATE_HOME and XDG_CACHE_HOME.",
            )
        base = known / default
    return base / "relayd"

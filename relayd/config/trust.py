"""Whether a configuration file is safe to read, given its owner and mode."""

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from relayd.errors import ConfigError

OWNER_VARIABLE = "RELAYD_CONFIG_UID"
"""Names another user whose configuration is trusted: in a container, the one who owns it outside."""


def trusted_owner(environ: Mapping[str, str]) -> int | None:
    """Return the other user whose configuration is trusted; None where none is named.

    Raises:
        ConfigError: The variable holds no user id.
    """
    text = environ.get(OWNER_VARIABLE, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(
            f"{OWNER_VARIABLE}={text!r} is not a user id",
            remedy="Give the number that `id -u` prints for the owner of relay.toml.",
        )
    return int(text)


def unreadable(path: Path, error: OSError, uid: int) -> ConfigError:
    """Return what an operator is answered when a configuration file cannot be read."""
    remedy = ""
    if error.errno == errno.EACCES:
        remedy = f"Let uid {uid} read it: `chmod a+r {path}`, and a+x for the folders above it."
    elif error.errno == errno.EISDIR:
        remedy = "Where Docker mounts a file that is missing it makes a folder: write a file in its place."
    return ConfigError(f"{path}: cannot be read: {error.strerror}", remedy=remedy)


def check_trust(
    file: Path, status: os.stat_result, uid: int, *, holds_key: bool, trusted: int | None = None
) -> list[str]:
    """Return warnings about a file that may be used.

    Root may own any configuration: a system file is read by a service that runs as another user. For the same
    reason the group may read a key in a file of root's.

    Args:
        file: How messages name it.
        status: Owner and mode of the open file.
        uid: The user that relayd runs as.
        holds_key: Whether the file itself contains an API key.
        trusted: Another user who may own it, as the environment names one.

    Raises:
        ConfigError: Another user could have written it, or can read the key in it.
    """
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in {0, uid, trusted}:
        raise ConfigError(
            f"{file}: belongs to another user (uid {status.st_uid}), who could make relayd run anything",
            remedy=f"Copy it, or take it over with `sudo chown {uid} {file}`. If that user is trusted, "
            f"as the owner of a file that is mounted into a container, set {OWNER_VARIABLE}={status.st_uid}.",
        )
    if mode & stat.S_IWOTH:
        raise ConfigError(
            f"{file}: every user can write it (mode {mode:04o})", remedy=f"Run `chmod o-w,g-w {file}`."
        )
    readers = stat.S_IROTH | (stat.S_IRGRP if status.st_uid == uid else 0)
    if holds_key and mode & readers:
        raise ConfigError(
            f"{file}: holds a secret, and other users can read it (mode {mode:04o})",
            remedy=f"Run `chmod 600 {file}`.",
        )
    if mode & stat.S_IWGRP:
        return [f"{file}: its group can write it (mode {mode:04o}); chmod g-w {file}"]
    return []

"""Whether a configuration file is safe to read, given its owner and mode."""

import os
import stat
from pathlib import Path

from relayd.errors import ConfigError


def check_trust(file: Path, status: os.stat_result, uid: int, *, holds_key: bool) -> list[str]:
    """Return warnings about a file that may be used.

    Root may own any configuration: a system file is read by a service that runs as another user. For the same
    reason the group may read a key in a file of root's.

    Args:
        file: How messages name it.
        status: Owner and mode of the open file.
        uid: The user that relayd runs as.
        holds_key: Whether the file itself contains an API key.

    Raises:
        ConfigError: Another user could have written it, or can read the key in it.
    """
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in {0, uid}:
        raise ConfigError(
            f"{file}: belongs to another user (uid {status.st_uid}), who could make relayd run anything",
            remedy=f"Copy it, or take it over with `sudo chown {uid} {file}`.",
        )
    if mode & stat.S_IWOTH:
        raise ConfigError(
            f"{file}: every user can write it (mode {mode:04o})", remedy=f"Run `chmod o-w,g-w {file}`."
        )
    readers = stat.S_IROTH | (stat.S_IRGRP if status.st_uid == uid else 0)
    if holds_key and mode & readers:
        raise ConfigError(
            f"{file}: holds api_key, and other users can read it (mode {mode:04o})",
            remedy=f"Run `chmod 600 {file}`.",
        )
    if mode & stat.S_IWGRP:
        return [f"{file}: its group can write it (mode {mode:04o}); chmod g-w {file}"]
    return []

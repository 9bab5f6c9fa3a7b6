"""The key that signs the sessions of the dashboard: one file of the state folder, made when first needed.

Removing the file, while no daemon runs, ends every session.
"""

import os
import secrets
from pathlib import Path

from relayd.files import write_atomic

FILE = "ui.key"
_BYTES = 32


def signing_key(state: Path) -> bytes:
    """Return the key. Blocks.

    Raises:
        StateError: It cannot be written.
    """
    path = state / FILE
    if known := _read(path):
        return known
    made = secrets.token_bytes(_BYTES)
    write_atomic(path, made.hex().encode())
    return made


def _read(path: Path) -> bytes:
    """Return the key of a file that only its owner can read; nothing where there is none of that kind."""
    try:
        with path.open("rb") as file:
            is_private = not os.fstat(file.fileno()).st_mode & 0o077
            found = bytes.fromhex(file.read(4 * _BYTES).decode("ascii"))
    except (OSError, ValueError):
        return b""
    return found if is_private and len(found) == _BYTES else b""

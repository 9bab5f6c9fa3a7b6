"""How does a command get a secret that must not be typed into its line (R16)?"""

import os
import sys
from getpass import getpass
from pathlib import Path

from relayd.errors import UsageError
from relayd.files import expanded
from relayd.secret import Secret

_LONGEST = 4096


def token_from(file: Path | None, variable: str, prompt: str) -> Secret:
    """Return a token: of a file, else of a variable, else typed on the terminal.

    Args:
        file: Where it is; other users may not read it.
        variable: The environment variable.
        prompt: What a person is asked.

    Raises:
        UsageError: There is none, or others can read the file.
    """
    if file is not None:
        return _from_file(expanded(file))
    if value := os.environ.get(variable, "").strip():
        return Secret(value)
    if sys.stdin is not None and sys.stdin.isatty():
        if typed := getpass(f"{prompt}: ").strip():
            return Secret(typed)
        raise UsageError("no token was typed")
    raise UsageError("there is no token", remedy=f"Name a file with --token-file, or set {variable}.")


def _from_file(path: Path) -> Secret:
    try:
        found = path.stat()
        if found.st_mode & 0o077:
            remedy = f"Make it yours alone: `chmod 600 {path}`."
            raise UsageError(f"{path} can be read by other users", remedy=remedy)
        text = path.read_bytes()[:_LONGEST].decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if not text:
        raise UsageError(f"{path} is empty")
    return Secret(text)

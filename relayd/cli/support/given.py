"""What a running daemon was given, for commands that must mean the same (configuration, folders)."""

from pathlib import Path

from relayd.desired.make import ServeArguments
from relayd.desired.site import Site


def given_arguments(config: Path | None = None) -> tuple[ServeArguments, Site]:
    """Return what the running daemon was given after `relayd serve`, and where; else nothing, and here.

    Args:
        config: A relay.toml that was named for this command; it goes before the daemon's.
    """
    return ServeArguments(config=config), Site()
